/// One event of a turn's log, as a client sees it.
public enum TurnEvent: Sendable, Equatable {
    /// The token at `index`; its text may be empty (half a UTF-8 scalar, the end-of-turn token).
    case token(index: Int, text: String)
    /// Nothing follows. `next` is the number of tokens, the index after the last one.
    case end(next: Int, TurnEnd)
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

    public init(outcome: TurnOutcome, engineFirstToken: Double? = nil) {
        self.engineFirstToken = engineFirstToken
        status = outcome.status
        finishReason = outcome.finishReason
        error = outcome.error
        conversation = outcome.conversation.id
        usage = outcome.usage
        model = outcome.model
        duration = outcome.endedAt - outcome.acceptedAt
    }
}
