import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

extension TurnRunner {
    /// Gives up only when the delivery is gone, for then another orchestrator has the turn.
    static func patience(_ delivery: Delivery, _ logger: Logger) -> Patience {
        Patience(logger: logger) { delivery.isLive }
    }

    static func waitForEnd(
        of turn: Turn, _ services: TurnServices, _ delivery: Delivery, _ logger: Logger
    ) async throws {
        while delivery.isLive {
            let record = try await patience(delivery, logger)() { try await services.log.record(of: turn.id) }
            // A record that is gone was lost with Redis' memory: the turn is taken up anew, by us or by its holder.
            guard let record else { throw Abandoned.fenced }
            if record.hasEnded { return }
            try await Task.sleep(for: .milliseconds(500))
        }
        throw Abandoned.fenced
    }
}
