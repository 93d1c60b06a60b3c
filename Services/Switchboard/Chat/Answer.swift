import ChatClient
import Foundation

/// One answer on its way to the screen.
@MainActor
final class Answer {
    private(set) var text = ""
    private let client: ChatClient
    private let screen: Screen
    private var turn: String?
    private var interrupts = 0

    init(client: ChatClient, screen: Screen) {
        self.client = client
        self.screen = screen
    }

    func run(_ request: ChatRequest) async throws -> FollowedTurn {
        let id = try await client.begin(request)
        turn = id
        // Ctrl-C came before there was a turn to stop.
        if interrupts > 0 { stop(id) }
        return try await client.follow(id) { self.show($0) }
    }

    /// Ctrl-C: the first asks for the turn's end, and what was said until then stays; the second does not wait for it.
    /// - Returns: whether to give up waiting.
    func interrupt() -> Bool {
        interrupts += 1
        guard interrupts == 1 else { return true }
        screen.remark("stopping…")
        if let turn { stop(turn) }
        return false
    }

    private func stop(_ turn: String) {
        Task {
            do {
                try await client.cancel(turn)
            } catch {
                screen.remark("it cannot be stopped: \(error); Ctrl-C again leaves it alone")
            }
        }
    }

    private func show(_ event: ChatEvent) {
        switch event {
        case .token(_, let token):
            text += token
            screen.write(token)
            if interrupts > 0 { screen.remark("stopping…") }
        case .notice(let name, let data): if let wait = Wait(name, data) { screen.remark(wait.text) }
        case .interrupted(_, let next, _): screen.remark("[connection lost; going on at \(Answer.address(next))]")
        case .connected: break
        }
    }

    private static func address(_ url: String) -> String {
        url.firstRange(of: "://").map { String(url[$0.upperBound...]) } ?? url
    }

    /// A turn's place in the queue, and what is estimated of its beginning.
    private struct Wait: Decodable {
        let place: Int
        let estimated_seconds: Double?

        init?(_ name: String, _ data: String) {
            guard name == "queue", let wait = try? JSONDecoder().decode(Wait.self, from: Data(data.utf8)) else {
                return nil
            }
            self = wait
        }

        var text: String {
            let estimate = estimated_seconds.map { String(format: ", about %.0f s", $0.rounded(.up)) } ?? ""
            return "place \(place) in the queue\(estimate)…"
        }
    }
}
