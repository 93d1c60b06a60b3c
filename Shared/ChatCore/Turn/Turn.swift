/// What a turn is to do, frozen when it was accepted: everything that changes its tokens travels with it, so that
/// whoever takes it up later generates the same. It is the message on the turn queues.
public struct Turn: Sendable, Codable, Equatable {
    /// Changes when a reader of the old form could misread the new one.
    public static let formatVersion = 1

    public var version = Turn.formatVersion
    public let id: TurnID
    public let conversation: ConversationKey
    /// Whether this turn began the conversation: then there is no history to look for.
    public let beginsConversation: Bool
    public let kind: Kind
    public let message: String
    /// The system message of this turn; the conversation's own stays as it is when this is nil.
    public let system: String?
    /// Messages that the client sent along as context, put between history and message.
    public let context: [Message]
    public var model: String?
    public var sampling: Sampling
    /// Unix times in milliseconds of the Redis clock; the deadline ends the turn whatever happens.
    public let acceptedAt: Int64
    public let deadline: Int64
    /// The conversation's newest unfinished turn before this one at accept: this one's history holds it. Redis may forget
    /// the order of turns; their messages do not.
    public var after: TurnID?
    /// The number that the turn was given when it joined its conversation (`ConversationPosition`): earlier turns have
    /// smaller ones. Nil until then, and in messages of releases that went by the time of acceptance.
    public var sequence: Int64?
    /// The client's Idempotency-Key; nil when it sent none.
    public var idempotency: Idempotency?
    /// The dead-lettered turn that this one does again.
    public var replayOf: TurnID?
    /// Nil is the standard tier.
    public var tier: Tier?
    /// What was taken off the request because of overload; nil when nothing was.
    public var degradation: Degradation?
    /// Nil when the turn shares no answers.
    public var answers: AnswerUse?
    /// The W3C trace context under which the turn was accepted, as the headers of these names have it; nil when nobody
    /// traces it. A hint that may be malformed: `TraceContext` reads it.
    public var traceparent: String?
    public var tracestate: String?

    public init(
        id: TurnID, conversation: ConversationKey, beginsConversation: Bool, kind: Kind, message: String,
        system: String?, context: [Message], model: String?, sampling: Sampling, acceptedAt: Int64, deadline: Int64,
        idempotency: Idempotency? = nil, replayOf: TurnID? = nil, tier: Tier? = nil, degradation: Degradation? = nil,
        answers: AnswerUse? = nil, traceparent: String? = nil, tracestate: String? = nil
    ) {
        self.id = id
        self.conversation = conversation
        self.beginsConversation = beginsConversation
        self.kind = kind
        self.message = message
        self.system = system
        self.context = context
        self.model = model
        self.sampling = sampling
        self.acceptedAt = acceptedAt
        self.deadline = deadline
        self.idempotency = idempotency
        self.replayOf = replayOf
        self.tier = tier
        self.degradation = degradation
        self.answers = answers
        self.traceparent = traceparent
        self.tracestate = tracestate
    }

    /// How the client waits; it decides the queue, the priority, and what the client's absence means.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// The client waits for the whole answer: its absence cancels.
        case chat
        /// The client follows tokens: after a grace without any reader the turn is cancelled.
        case stream
        /// The client asks later: absence means nothing.
        case batch
    }

    public struct Message: Sendable, Codable, Equatable {
        public enum Role: String, Sendable, Codable, CaseIterable { case system, user, assistant }
        public let role: Role
        public let content: String

        public init(role: Role, content: String) {
            self.role = role
            self.content = content
        }
    }

    /// Sampling values as the engine takes them; the seed is always set, by the client or at accept.
    public struct Sampling: Sendable, Codable, Equatable {
        public var maxTokens: Int
        public var temperature: Float
        public var topK: Int
        public var topP: Float
        public var minP: Float
        public var repetitionPenalty: Float
        public var presencePenalty: Float
        public var frequencyPenalty: Float
        public var seed: UInt64
        public var stop: [String]

        public init(
            maxTokens: Int, temperature: Float = 0.7, topK: Int = 40, topP: Float = 0.95, minP: Float = 0,
            repetitionPenalty: Float = 1, presencePenalty: Float = 0, frequencyPenalty: Float = 0, seed: UInt64,
            stop: [String] = []
        ) {
            self.maxTokens = maxTokens
            self.temperature = temperature
            self.topK = topK
            self.topP = topP
            self.minP = minP
            self.repetitionPenalty = repetitionPenalty
            self.presencePenalty = presencePenalty
            self.frequencyPenalty = frequencyPenalty
            self.seed = seed
            self.stop = stop
        }
    }
}
