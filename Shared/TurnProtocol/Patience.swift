import Logging
import RabbitQueue
import RedisStore
import ServiceKit

/// Why somebody lets go of a turn without ending it.
public enum Abandoned: Error, Sendable {
    /// The lease is another's, or the delivery that entitled to it is gone.
    case fenced
}

/// Repeats an idempotent step while its store is away, for as long as the caller is entitled to go on.
public struct Patience: Sendable {
    private let isEntitled: @Sendable () -> Bool
    private let logger: Logger

    /// - Parameter isEntitled: whether the delivery that is worked on is still the caller's; when not, another one has it.
    public init(logger: Logger, isEntitled: @escaping @Sendable () -> Bool) {
        self.isEntitled = isEntitled
        self.logger = logger
    }

    /// - Throws: `Abandoned.fenced` when the entitlement is gone, `CancellationError`, or what will not pass by itself.
    public func callAsFunction<Value>(
        isolation: isolated (any Actor)? = #isolation, _ step: () async throws -> Value
    ) async throws -> Value {
        var backoff = Backoff(base: .milliseconds(20), cap: .seconds(1))
        while true {
            do {
                return try await step()
            } catch let error where Patience.isPassing(error) {
                try Task.checkCancellation()
                logger.warning("a step is tried again", metadata: ["error": "\(error)"])
                guard isEntitled() else { throw Abandoned.fenced }
                try await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Whether the same step may succeed later: a store is away, or refuses for now. What a store found wrong with the step
    /// itself it will refuse again.
    public static func isPassing(_ error: any Error) -> Bool {
        switch error {
        case let error as RedisError: error.isPassing
        case let error as RabbitError: if case .invalid = error { false } else { true }
        default: false
        }
    }
}
