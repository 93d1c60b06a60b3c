import ChatCore
import Foundation
import Logging
import RedisStore
import ServiceKit
import Synchronization

/// Tells nodes to let jobs go. An order that did not arrive is repeated in the background: until then the node works for
/// nobody, in a place that counts as free.
final class CancelOrders: Sendable {
    /// Orders that are repeated at a time. Beyond it the node notices at the job's deadline.
    static let maximum = 1024
    /// Times that an order is sent which nobody hears: a node that lives listens again after a few, another one is dead.
    static let unheard = 10

    /// Sends a payload to a node's control channel; gives the number of listeners.
    typealias Send = @Sendable (_ node: String, _ payload: [UInt8]) async throws -> Int64

    private let send: Send
    private let pause: Backoff
    private let logger: Logger
    private let waiting = Atomic<Int>(0)

    init(
        pause: Backoff = Backoff(base: .milliseconds(50), cap: .seconds(2)), logger: Logger, send: @escaping Send
    ) {
        self.send = send
        self.pause = pause
        self.logger = logger
    }

    convenience init(redis: RedisPool, logger: Logger) {
        self.init(logger: logger) { node, payload in
            try await redis.send("PUBLISH", .text(NodeControl.channel(node: node)), .bytes(payload)).int ?? 0
        }
    }

    /// Returns when the order was sent once, whatever became of it.
    /// - Parameter left: time that the job has at most; it is over by itself then.
    func cancel(_ control: NodeControl, at node: String, left: Duration) async {
        guard let payload = try? JSONEncoder().encode(control) else { return }
        let bytes = Array(payload)
        // In a task of its own: the caller's may be cancelled, and would not wait for the reply.
        let sent = await Task { await self.attempt(bytes, at: node) }.value
        guard sent != .heard else { return }
        guard waiting.add(1, ordering: .relaxed).newValue <= CancelOrders.maximum else {
            waiting.subtract(1, ordering: .relaxed)
            return logger.warning("a job was not cancelled", metadata: ["node": "\(node)"])
        }
        let end = ContinuousClock.now + left
        Task {
            defer { self.waiting.subtract(1, ordering: .relaxed) }
            var pause = self.pause
            var unheard = sent == .unheard ? 1 : 0
            while ContinuousClock.now < end, unheard < CancelOrders.unheard {
                try? await Task.sleep(for: pause.next())
                switch await self.attempt(bytes, at: node) {
                case .heard: return
                case .unheard: unheard += 1
                case .failed: break
                }
            }
        }
    }

    private enum Outcome { case heard, unheard, failed }

    private func attempt(_ payload: [UInt8], at node: String) async -> Outcome {
        do {
            return try await send(node, payload) > 0 ? .heard : .unheard
        } catch {
            logger.debug("a job is not cancelled yet", metadata: ["node": "\(node)", "error": "\(error)"])
            return .failed
        }
    }
}
