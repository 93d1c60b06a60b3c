/// One event of a turn's log, as a client sees it.
public enum TurnEvent: Sendable, Equatable {
    /// The token at `index`; its text may be empty (half a UTF-8 scalar, the end-of-turn token).
    case token(index: Int, text: String)
    /// Nothing follows. `next` is the number of tokens, the index after the last one.
    case end(next: Int, TurnEnd)
    /// The turn waits for a place at a node. It is told to whoever reads now and is not in the log: it takes no index,
    /// and may be missed or come late.
    case waiting(TurnWait)
}

/// Where a waiting turn stands.
public struct TurnWait: Sendable, Equatable {
    /// Turns that get a place before this one, and this one: 1 is next.
    public let place: Int
    /// Milliseconds until the first token; nil when nobody can say.
    public let estimate: Int64?

    public init(place: Int, estimate: Int64?) {
        self.place = place
        self.estimate = estimate
    }
}

/// The terminal event: what a client learns besides the text.
public struct TurnEnd: Sendable, Codable, Equatable {
    public let status: TurnOutcome.Status
    public let finishReason: TurnOutcome.FinishReason
    public let error: String?
    public let conversation: ConversationID
    public let usage: TurnOutcome.Usage
    public let model: String
    /// Milliseconds from accept to end.
    public let duration: Int64
    /// Milliseconds from the engine's hearing of the turn to its first token, where one process saw both.
    public let engineFirstToken: Double?
    /// What overload took off the request; nil when nothing was.
    public let degradation: Turn.Degradation?

    public init(outcome: TurnOutcome, engineFirstToken: Double? = nil) {
        self.engineFirstToken = engineFirstToken
        degradation = outcome.degradation
        status = outcome.status
        finishReason = outcome.finishReason
        error = outcome.error
        conversation = outcome.conversation.id
        usage = outcome.usage
        model = outcome.model
        duration = outcome.endedAt.milliseconds(since: outcome.acceptedAt)
    }
}
