import ChatCore
import Foundation
import Logging
import RedisStore
import TurnProtocol

extension TurnRunner {
    mutating func end(_ step: EndingStep, _ how: TurnEnd.How) async throws {
        var ending: EndingTurn
        if let known = self.ending {
            ending = known
            // After a loss of Redis the same outcome is recorded again, under a new lease.
            ending.lease = try lease()
        } else if let recorded {
            ending = try await EndingTurn(turn, under: try lease(), recorded: recorded)
        } else {
            var proposal = outcome(how, at: try await services.clock.now())
            trace.beginEnding(&proposal)
            ending = try await EndingTurn(
                turn, under: try lease(), proposal: proposal, engineFirstToken: holder.engineFirstToken)
        }
        self.ending = ending
        try await services.ending.perform(step, of: &ending)
        self.ending = ending
        if step == .remember, ending.outcome.status == .done, holder.answerOf == nil, let plan = holder.plan {
            // Before the end is shown: the same request may come at once.
            await services.answers.keep(holder.ids, of: turn, plan, ending.outcome.finishReason)
        }
        if step.next == nil {
            services.metrics.ended(turn, ending.outcome)
            log(ending)
            trace.end(ending.outcome)
        }
    }

    private func outcome(_ how: TurnEnd.How, at now: Int64) -> TurnOutcome {
        TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: turn.beginsConversation,
            kind: turn.kind, status: how.status, finishReason: how.reason, error: how.error,
            system: turn.system, message: turn.message, response: transcript.text, eventEnds: transcript.ends,
            usage: .init(promptTokens: holder.plan?.prompt.count ?? 0, completionTokens: transcript.next),
            model: turn.model ?? services.model, seed: turn.sampling.seed, acceptedAt: turn.acceptedAt,
            firstTokenAt: firstTokenAt, endedAt: max(now, turn.acceptedAt), attempts: holder.attempts,
            idempotency: turn.idempotency, replayOf: turn.replayOf, degradation: degradation,
            attemptLog: holder.history, sequence: turn.sequence)
    }

    /// What was taken off the turn at accept and by its plan, and whether another one's answer was given.
    private var degradation: Turn.Degradation? {
        var degradation = turn.degradation ?? .init()
        holder.plan?.tell(of: turn, in: &degradation)
        degradation.answerOf = holder.answerOf
        return degradation == .init() ? nil : degradation
    }

    private func log(_ ending: EndingTurn) {
        let outcome = ending.outcome
        logger.info(
            "a turn ended",
            metadata: [
                "status": "\(outcome.status.rawValue)", "reason": "\(outcome.finishReason.rawValue)",
                "prompt_tokens": "\(outcome.usage.promptTokens)", "tokens": "\(outcome.usage.completionTokens)",
                "milliseconds": "\(ending.end.duration)", "attempts": "\(outcome.attempts)",
                "history_turns": "\(holder.plan?.historyTurns ?? 0)",
                "dropped_turns": "\(holder.plan?.droppedTurns ?? 0)", "error": "\(outcome.error ?? "")",
            ])
    }
}
