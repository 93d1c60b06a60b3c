import ChatCore
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

    /// Whether the same step may succeed later: a store is away, or refuses for now, or the pool for long computation is
    /// full. What a store found wrong with the step itself it will refuse again.
    public static func isPassing(_ error: any Error) -> Bool {
        switch error {
        case let error as RedisError: error.isPassing
        case let error as RabbitError: if case .invalid = error { false } else { true }
        case is WorkPool.Full: true
        default: false
        }
    }
}

extension Patience {
    /// Reads a delivery's message. While the pool is full it waits, and the delivery stays as it is: to give it back would
    /// have it come again at once, and count against the message.
    /// - Throws: `DecodingError` or `WireError` when the message is at fault; `Abandoned.fenced`, `CancellationError`.
    public func read<Message: WireMessage & Sendable>(
        _ type: Message.Type, of delivery: Delivery, on pool: WorkPool = .shared
    ) async throws -> Message {
        try await self { try await pool.decode(type, from: delivery.body) }
    }
}
