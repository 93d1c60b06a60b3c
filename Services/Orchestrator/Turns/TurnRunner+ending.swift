import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

extension TurnRunner {
    /// Takes the turn through the one order of ending.
    func end(_ ending: Ending) async throws {
        var ending = try EndingTurn(
            turn, under: lease, proposal: try await outcome(of: ending), engineFirstToken: engineFirstToken)
        try await services.ending.end(&ending, patience: patience)
        let (outcome, end) = (ending.outcome, ending.end)
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
        let clock = services.clock
        let now = try await patience { try await clock.now() }
        return TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: turn.beginsConversation,
            kind: turn.kind, status: ending.status, finishReason: ending.reason, error: ending.error,
            system: turn.system, message: turn.message, response: transcript.text, eventEnds: transcript.ends,
            usage: .init(promptTokens: plan?.prompt.count ?? 0, completionTokens: transcript.next),
            model: turn.model ?? services.model, seed: turn.sampling.seed, acceptedAt: turn.acceptedAt,
            firstTokenAt: firstTokenAt, endedAt: max(now, turn.acceptedAt), attempts: attempts,
            idempotency: turn.idempotency, replayOf: turn.replayOf, degradation: turn.degradation)
    }
}
