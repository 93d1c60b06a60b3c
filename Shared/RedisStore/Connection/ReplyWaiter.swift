import Synchronization

/// Hands one result to one waiting task: a reply, a failure or the task's own cancellation, whichever comes first.
final class ReplyWaiter<Success: Sendable>: Sendable {
    typealias Outcome = Result<Success, RedisError>

    private enum State {
        case idle
        case waiting(CheckedContinuation<Outcome, Never>)
        case finished
    }

    private let state = Mutex(State.idle)

    /// Starts an operation and waits for it to call `finish`; a task that is cancelled already starts nothing.
    func wait(for start: (ReplyWaiter) -> Void) async -> Outcome {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isCancelled = state.withLock { state in
                    if case .finished = state { return true }
                    state = .waiting(continuation)
                    return false
                }
                if isCancelled { continuation.resume(returning: .failure(.cancelled)) } else { start(self) }
            }
        } onCancel: {
            finish(.failure(.cancelled))
        }
    }

    /// The first call counts.
    func finish(_ outcome: Outcome) {
        let continuation = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            defer { state = .finished }
            if case .waiting(let continuation) = state { return continuation }
            return nil
        }
        continuation?.resume(returning: outcome)
    }
}
