import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit

extension TurnRunner {
    /// The one order in which a turn ends: recorded, settled, shown, acknowledged. Each step may be repeated.
    func end(_ ending: Ending) async throws {
        let (services, turn, delivery, logger, lease) = (services, turn, delivery, logger, lease)
        let proposal = Array(try JSONEncoder().encode(try await outcome(of: ending)))
        let stored = try await TurnRunner.patiently(delivery, logger) {
            try await services.log.recordOutcome(lease, outcome: proposal)
        }
        guard let stored else { throw Abandoned.fenced }
        let outcome = try JSONDecoder().decode(TurnOutcome.self, from: Data(stored))
        let shard = services.database.shard(for: turn.conversation.owner).name
        try await TurnRunner.patiently(delivery, logger) {
            try await services.publisher.publish(
                OutgoingMessage(queue: Topology.responseQueue(shard: shard), body: stored, id: turn.id.description))
        }
        // Before the client hears of the end: its next message may come at once, and must find this turn.
        let entry = ContextCache.Entry(
            turn: turn.id, system: turn.system, message: turn.message,
            response: outcome.isPartOfHistory ? outcome.response : "")
        try await TurnRunner.patiently(delivery, logger) {
            try await services.contexts.append(
                turn.conversation, entry: entry, beginsConversation: turn.beginsConversation)
        }
        let end = TurnEnd(outcome: outcome, engineFirstToken: engineFirstToken)
        let isEnded = try await TurnRunner.patiently(delivery, logger) {
            try await services.log.end(lease, next: outcome.eventEnds.count, end: end)
        }
        guard isEnded else { throw Abandoned.fenced }
        try await TurnRunner.tidyUp(turn, services, delivery, logger)
        logger.info(
            "a turn ended",
            metadata: [
                "status": "\(outcome.status.rawValue)", "reason": "\(outcome.finishReason.rawValue)",
                "prompt_tokens": "\(outcome.usage.promptTokens)", "tokens": "\(outcome.usage.completionTokens)",
                "milliseconds": "\(end.duration)", "attempts": "\(outcome.attempts)",
                "history_turns": "\(plan?.historyTurns ?? 0)", "dropped_turns": "\(plan?.droppedTurns ?? 0)",
                "error": "\(outcome.error ?? "")",
            ])
    }

    func outcome(of ending: Ending) async throws -> TurnOutcome {
        let (clock, delivery, logger) = (services.clock, delivery, logger)
        let now = try await TurnRunner.patiently(delivery, logger) { try await clock.now() }
        return TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: turn.beginsConversation,
            kind: turn.kind, status: ending.status, finishReason: ending.reason, error: ending.error,
            system: turn.system, message: turn.message, response: transcript.text, eventEnds: transcript.ends,
            usage: .init(promptTokens: plan?.prompt.count ?? 0, completionTokens: transcript.next),
            model: turn.model ?? services.model, seed: turn.sampling.seed, acceptedAt: turn.acceptedAt,
            firstTokenAt: firstTokenAt, endedAt: max(now, turn.acceptedAt), attempts: attempts)
    }
}
