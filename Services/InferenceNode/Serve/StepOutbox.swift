import LlamaEngine
import ServiceKit
import Synchronization

/// Stands between the engine's thread, which must never wait, and the sender, which waits for Redis. While the sender is held
/// up, what comes is joined (`PendingTokens`): nothing is refused.
final class StepOutbox: Sendable {
    private let pending = Mutex(PendingTokens())
    /// Rings when there is something. What it says lies in `pending`, so a full bell loses nothing.
    private let bell = Mailbox<Void>(capacity: 4096)

    /// Called on the engine's thread after each step.
    func add(_ events: [TokenEvent]) {
        guard !events.isEmpty else { return }
        pending.withLock { $0.add(events) }
        bell.send((), isUrgent: SendPace.isUrgent(events))
    }

    /// Has the request named in what is sent next.
    func ask(after request: UInt64) {
        pending.withLock { $0.ask(after: request) }
        bell.send(())
    }

    func add(_ reply: PendingTokens.Reply) {
        guard pending.withLock({ $0.add(reply) }) else { return }
        bell.send(())
    }

    /// Requests that the engine has ended and of which nobody has been told.
    var ends: Int { pending.withLock { $0.ends } }

    /// All there is, as soon as there is something; nil when the outbox is closed and empty or the task is cancelled.
    func take() async -> PendingTokens? {
        guard await bell.receive() != nil else { return nil }
        return pending.withLock { pending in
            defer { pending = PendingTokens() }
            return pending
        }
    }

    /// Tokens in the middle of a turn wait from now on, until `release`.
    func hold() { bell.hold() }
    func release() { bell.release() }

    /// The engine has ended: what is there is still given out.
    func close() { bell.close() }
}
