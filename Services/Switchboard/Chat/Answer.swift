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
    private var isLate = false
    private var trouble = ""
    private var complaints = Set<String>()
    private let complain: @MainActor (String) -> Void

    /// Time without an answer after which it is said what is waited for: before a connection is given up (2 s).
    private static let patience: Duration = .seconds(1)

    /// - Parameter complain: is told, while there is no turn yet, what keeps it from beginning.
    init(client: ChatClient, screen: Screen, complain: @escaping @MainActor (String) -> Void) {
        self.client = client
        self.screen = screen
        self.complain = complain
    }

    /// Whether a gateway has taken the message.
    var isBegun: Bool { turn != nil }

    func run(_ request: ChatRequest) async throws -> FollowedTurn {
        let gateways = client.configuration.gateways.map(Answer.address).joined(separator: ", ")
        trouble = "waiting for \(gateways)…"
        let watch = Task {
            try await Task.sleep(for: Answer.patience)
            isLate = true
            complainOnce()
        }
        defer { watch.cancel() }
        let id = try await client.begin(request) { loss in
            await self.lost("\(gateways): \(loss.reason); trying again…")
        }
        turn = id
        watch.cancel()
        return try await client.follow(id) { self.show($0) }
    }

    /// Ctrl-C: the first asks for the turn's end, and what was said until then stays; the second does not wait for it. Nor does
    /// the first while there is no turn yet: one that was taken in that moment ends by itself, since nobody reads it.
    /// - Returns: whether to give up waiting.
    func interrupt() -> Bool {
        interrupts += 1
        guard let turn, interrupts == 1 else { return true }
        screen.remark("stopping…")
        stop(turn)
        return false
    }

    private func lost(_ trouble: String) {
        self.trouble = trouble
        complainOnce()
    }

    /// Another gateway mostly takes it at once, and nobody need know. Attempts fail several times a second: what was said
    /// already is not said again.
    private func complainOnce() {
        guard isLate, turn == nil, complaints.insert(trouble).inserted else { return }
        complain(trouble)
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
