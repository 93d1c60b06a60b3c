import ChatCore
import RedisStore

extension TurnEnding {
    /// What became of a turn that was to be ended although nobody held it.
    public enum Verdict: Sendable, Equatable {
        /// It ended with this outcome: the one proposed here, or the one that its last holder had recorded.
        case ended(TurnOutcome)
        /// It had ended before; nothing but its places was cleared.
        case hadEnded
        /// Redis knows nothing of it, and `creates` was false.
        case unknown
    }

    /// Ends, as failed, a turn whose message came to rest (it expired, it died at the delivery limit): takes the lease
    /// from whoever has it, keeps the tokens that were logged as its answer, and goes through the one order of ending.
    ///
    /// The unacknowledged message is what entitles the caller; repeat it until it returns, then acknowledge.
    /// - Parameters:
    ///   - error: the reason in words for the client.
    ///   - owner: the caller's name, for the lease.
    ///   - creates: makes a record that Redis does not have (any more), so that readers get the failure. Look into the
    ///     user's shard first: a turn that is settled there needs none.
    /// - Throws: `Abandoned`, `CancellationError`, or what a store refused for good.
    public func fail(
        _ turn: Turn, error: String, owner: String, model: String, clock: RedisClock, creates: Bool = true,
        patience: Patience
    ) async throws -> Verdict {
        let acquisition = try await patience {
            try await log.acquire(turn, owner: owner, redelivered: true, creates: creates)
        }
        switch acquisition {
        case .unknown: return .unknown
        case .ended, .held:
            try await patience { try await tidyUp(turn) }
            return .hadEnded
        case .acquired(let lease, let progress):
            return .ended(
                try await end(
                    turn, under: lease, patience: patience,
                    proposal: TurnOutcome(
                        turn, .failed, .error, error: error, progress: progress, model: model,
                        at: try await patience { try await clock.now() })))
        }
    }

    /// Ends, as cancelled, a turn that waits on a rung of the retry ladder; one that is held or has ended stays as it is.
    ///
    /// A caller that dies in the middle leaves a lease behind: the message on the rung takes it over from the dead.
    /// - Throws: `Abandoned`, `CancellationError`, or what a store refused for good.
    public func cancel(
        parked turn: Turn, owner: String, model: String, clock: RedisClock, patience: Patience
    ) async throws {
        let acquisition = try await patience {
            try await log.acquire(turn, owner: owner, redelivered: false, creates: false)
        }
        guard case .acquired(let lease, let progress) = acquisition else { return }
        _ = try await end(
            turn, under: lease, patience: patience,
            proposal: TurnOutcome(
                turn, .cancelled, .cancelled, progress: progress, model: model,
                at: try await patience { try await clock.now() }))
    }

    /// - Returns: what is recorded: the proposal, or what an earlier holder had recorded before.
    private func end(
        _ turn: Turn, under lease: TurnLog.Lease, patience: Patience, proposal: TurnOutcome
    ) async throws -> TurnOutcome {
        var ending = try await patience { try await EndingTurn(turn, under: lease, proposal: proposal) }
        try await end(&ending, patience: patience)
        return ending.outcome
    }
}

extension TurnOutcome {
    /// The end of a turn of which no more is known than its log. The prompt's length is not: its plan is its orchestrators'
    /// own.
    init(
        _ turn: Turn, _ status: Status, _ reason: FinishReason, error: String? = nil, progress: TurnLog.Progress,
        model: String, at now: Int64
    ) {
        var response = ""
        let ends = progress.tokens.map { token in
            response += token.text
            return response.utf8.count
        }
        self.init(
            turn: turn.id, conversation: turn.conversation, beginsConversation: turn.beginsConversation,
            kind: turn.kind, status: status, finishReason: reason, error: error, system: turn.system,
            message: turn.message, response: response, eventEnds: ends,
            usage: .init(promptTokens: 0, completionTokens: progress.tokens.count), model: turn.model ?? model,
            seed: turn.sampling.seed, acceptedAt: turn.acceptedAt, firstTokenAt: nil,
            endedAt: max(now, turn.acceptedAt), attempts: progress.attempts.total,
            idempotency: turn.idempotency, replayOf: turn.replayOf, degradation: turn.degradation,
            attemptLog: progress.history, traceparent: turn.traceparent, tracestate: turn.tracestate,
            sequence: turn.sequence)
    }
}
