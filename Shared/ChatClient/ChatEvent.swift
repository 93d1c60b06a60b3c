/// What a client that follows a turn learns, in order.
public enum ChatEvent: Sendable, Equatable {
    /// The token at `index`: each index once, without gaps, over however many connections. Its text may be empty.
    case token(index: Int, text: String)
    /// Something beside the tokens, such as the place in the queue: an event without an id, as JSON text.
    case notice(name: String, data: String)
    /// A gateway answered; what follows comes from there.
    case connected(gateway: String)
    /// The connection ended before the turn did; the next attempt is made after `pause`.
    case interrupted(reason: String, next: String, pause: Duration)
}

/// The last event of a turn.
public struct ChatEnd: Sendable, Decodable, Equatable {
    public struct Usage: Sendable, Decodable, Equatable {
        public let promptTokens: Int
        public let completionTokens: Int

        enum CodingKeys: String, CodingKey {
            case promptTokens = "prompt_tokens"
            case completionTokens = "completion_tokens"
        }
    }

    public struct Failure: Sendable, Decodable, Equatable {
        public let code: String
        public let message: String
    }

    /// "done", "failed" or "cancelled".
    public let status: String
    public let finishReason: String
    public let conversationID: Int64
    public let model: String?
    public let usage: Usage
    /// Seconds from accept to end.
    public let processingTime: Double?
    public let error: Failure?

    enum CodingKeys: String, CodingKey {
        case status, model, usage, error
        case finishReason = "finish_reason"
        case conversationID = "conversation_id"
        case processingTime = "processing_time"
    }
}

/// A turn that was followed to its end.
public struct FollowedTurn: Sendable, Equatable {
    public let end: ChatEnd
    /// The last event as the server wrote it, for what `ChatEnd` does not know.
    public let endText: String
    /// Connections that were made beyond the first.
    public let reconnects: Int
    /// Tokens that came again and were dropped, and connections given up because a token was missing: a server that
    /// keeps its word never causes either.
    public let duplicates: Int
    public let gaps: Int
}
