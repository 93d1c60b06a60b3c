import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit

extension TurnRunner {
    /// Repeats an idempotent step while its store is away. Gives up only when the delivery is gone, for then another
    /// orchestrator has the turn.
    static func patiently<Value>(
        _ delivery: Delivery, _ logger: Logger, _ step: () async throws -> Value
    ) async throws -> Value {
        var backoff = Backoff(base: .milliseconds(20), cap: .seconds(1))
        while true {
            do {
                return try await step()
            } catch let error where isPassing(error) {
                try Task.checkCancellation()
                logger.warning("a step is tried again", metadata: ["error": "\(error)"])
                guard delivery.isLive else { throw Abandoned.fenced }
                try await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Whether the same step may succeed later: a store is away. What a store understood and refused it will refuse again.
    static func isPassing(_ error: any Error) -> Bool {
        switch error {
        case let error as RedisError:
            switch error {
            case .server(let text): text.hasPrefix("LOADING") || text.hasPrefix("OOM") || text.hasPrefix("READONLY")
            case .unexpectedReply: false
            default: true
            }
        case let error as RabbitError: if case .invalid = error { false } else { true }
        default: false
        }
    }

    static func waitForEnd(
        of turn: Turn, _ services: TurnServices, _ delivery: Delivery, _ logger: Logger
    ) async throws {
        while delivery.isLive {
            let record = try await patiently(delivery, logger) { try await services.log.record(of: turn.id) }
            // A record that is gone was lost with Redis' memory: the turn is taken up anew, by us or by its holder.
            guard let record else { throw Abandoned.fenced }
            if record.hasEnded { return }
            try await Task.sleep(for: .milliseconds(500))
        }
        throw Abandoned.fenced
    }
}
