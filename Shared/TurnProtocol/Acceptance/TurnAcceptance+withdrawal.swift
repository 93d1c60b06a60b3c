import ChatCore
import RedisStore
import ServiceKit

extension TurnAcceptance {
    /// How long a withdrawal goes on while Redis is away. What it leaves then expires with the turn.
    static let withdrawal: Duration = .seconds(60)

    /// Takes back what was reserved for a turn that was certainly not published: until then it would count against its
    /// user, and keep the next turn of its conversation waiting. Of several attempts under one key the last one does it;
    /// none does when one may have published the turn, or died.
    /// - Parameter attempt: as the turn's key was taken.
    func withdraw(_ turn: Turn, attempt: Int) async {
        var withdrawal = Withdrawal(attempt: attempt)
        guard await !proceed(&withdrawal, turn) else { return }
        // Redis is away, which is often the reason why there is something to withdraw. Nobody has to wait for that.
        let begun = withdrawal
        Task {
            var withdrawal = begun
            var backoff = Backoff(base: .milliseconds(50), cap: .seconds(1))
            let end = ContinuousClock.now + TurnAcceptance.withdrawal
            while ContinuousClock.now < end {
                try? await Task.sleep(for: backoff.next())
                if await proceed(&withdrawal, turn) { return }
            }
            logger.about(turn.id, in: turn.trace).warning("a turn that was not accepted keeps its places")
        }
    }

    private struct Withdrawal {
        let attempt: Int
        /// The key is free; nobody else will publish the turn.
        var isOurs = false
    }

    /// - Returns: whether nothing is left to do.
    private func proceed(_ withdrawal: inout Withdrawal, _ turn: Turn) async -> Bool {
        do throws(RedisError) {
            if !withdrawal.isOurs {
                guard try await keys.release(turn, attempt: withdrawal.attempt) else { return true }
                withdrawal.isOurs = true
            }
            try await order.remove(turn.id, of: turn.conversation)
            try await log.forget(turn.id)
            try await outstanding.release(turn)
            return true
        } catch {
            logger.about(turn.id, in: turn.trace).debug("a withdrawal waits", metadata: ["error": "\(error)"])
            return false
        }
    }
}
