import AsyncHTTPClient
import Foundation
import NIOCore

extension ChatClient {
    /// Follows a turn to its end, over as many connections and gateways as it takes: `onEvent` gets every token from
    /// index `from` on once and in order.
    ///
    /// - Throws: what `onEvent` throws; `CancellationError`; `ChatClientError.refused` when a gateway does not know the
    ///   turn or does not let this key read it, `.unreachable` when none gave a sign of life for as long as the policy
    ///   allows, `.malformed` when the turn's log is wrong at one connection after the other.
    nonisolated(nonsending) public func follow(
        _ turn: String, from: Int = 0, onEvent: (ChatEvent) async throws -> Void
    ) async throws -> FollowedTurn {
        var follower = TurnFollower(next: from)
        var reconnection = self.reconnection()
        var reconnects = 0
        while true {
            let loss: Loss
            switch try await readOnce(turn, &follower, &reconnection, onEvent) {
            case .ended(let end, let text):
                return FollowedTurn(
                    end: end, endText: text, reconnects: reconnects, duplicates: follower.duplicates,
                    gaps: follower.gaps)
            case .lost(let why): loss = why
            }
            try Task.checkCancellation()
            try await pause(after: loss, &reconnection) { next, pause in
                try await onEvent(.interrupted(reason: loss.reason, next: next, pause: pause))
            }
            reconnects += 1
        }
    }

    private enum Reading {
        case ended(ChatEnd, text: String)
        case lost(Loss)
    }

    /// One connection, from its request to its end.
    nonisolated(nonsending) private func readOnce(
        _ turn: String, _ follower: inout TurnFollower, _ reconnection: inout Reconnection,
        _ onEvent: (ChatEvent) async throws -> Void
    ) async throws -> Reading {
        let gateway = reconnection.gateway
        let headers = follower.lastEventID.map { ["Last-Event-ID": $0] } ?? [:]
        let response: HTTPClientResponse
        do {
            response = try await http.execute(
                request("GET", "/stream/\(turn)", headers: headers, gateway: gateway), deadline: .distantFuture)
            guard response.status == .ok else {
                let body = try await response.body.collect(upTo: ChatClient.maximumAnswerBytes)
                let refusal = ChatClientError.Refusal(
                    Answer(
                        status: Int(response.status.code), body: Array(body.readableBytesView),
                        gateway: configuration.gateways[gateway],
                        retryAfter: response.headers.first(name: "Retry-After")))
                // 4xx is about this request and will not change; anything else is about the server.
                guard refusal.status >= 500 || refusal.status == 429 else { throw ChatClientError.refused(refusal) }
                return .lost(Loss(reason: refusal.message, retryAfter: refusal.retryAfter))
            }
        } catch let error as ChatClientError {
            throw error
        } catch {
            try Task.checkCancellation()
            return .lost(Loss(error))
        }
        preferred.store(gateway, ordering: .relaxed)
        try await onEvent(.connected(gateway: configuration.gateways[gateway]))

        var parser = EventStreamParser()
        var parts = response.body.makeAsyncIterator()
        while true {
            // What the server does and what the caller's closure throws are told apart: only the first is made good.
            let items: [EventStreamParser.Item]
            do {
                guard let part = try await parts.next() else {
                    return .lost(Loss(reason: "the stream ended before the answer did"))
                }
                items = try parser.feed(part.readableBytesView)
            } catch {
                try Task.checkCancellation()
                return .lost(Loss(error))
            }
            reconnection.heard(at: now)
            for item in items {
                switch item {
                case .comment: break
                case .retry(let pause): reconnection.take(hint: pause)
                case .event(let event):
                    let before = follower.next
                    let news: ChatEvent?
                    do { news = try follower.take(event) } catch { return .lost(Loss(error)) }
                    if follower.next > before { reconnection.progressed(at: now) }
                    if let news { try await onEvent(news) }
                }
                if let (end, text) = follower.end { return .ended(end, text: text) }
            }
        }
    }
}
