/// How a turn ended. It is recorded once, hidden, before anybody is told; then settled in the user's shard; then
/// shown to the client. It is the message on a shard's response queue.
public struct TurnOutcome: Sendable, Codable, Equatable {
    public static let formatVersion = 1

    public enum Status: String, Sendable, Codable { case done, failed, cancelled }

    /// Why generation stopped, in the words of the API.
    public enum FinishReason: String, Sendable, Codable { case stop, length, cancelled, error }

    public struct Usage: Sendable, Codable, Equatable {
        public var promptTokens: Int
        public var completionTokens: Int

        public init(promptTokens: Int, completionTokens: Int) {
            self.promptTokens = promptTokens
            self.completionTokens = completionTokens
        }

        /// Both together; a number that lies is cut to what a count may be.
        public var totalTokens: Int {
            [promptTokens, completionTokens].reduce(0) {
                $0 + min(max(0, $1), WireBounds.counts.upperBound)
            }
        }
    }

    public var version = TurnOutcome.formatVersion
    public let turn: TurnID
    public let conversation: ConversationKey
    public let beginsConversation: Bool
    public let kind: Turn.Kind
    public let status: Status
    public let finishReason: FinishReason
    /// Why a failed turn failed, in words for the client; nil otherwise.
    public let error: String?
    /// The turn's system message when it brought one, the user's message and the whole answer so far.
    public let system: String?
    public let message: String
    public let response: String
    /// For each token index the number of UTF-8 bytes of `response` up to and including it, so that a settled turn
    /// replays under the same event ids.
    public let eventEnds: [Int]
    public let usage: Usage
    public let model: String
    public let seed: UInt64
    /// Unix times in milliseconds of the Redis clock.
    public let acceptedAt: Int64
    public let firstTokenAt: Int64?
    public let endedAt: Int64
    /// How often generation was begun; 1 for a turn that nothing disturbed, 0 for one that never reached a node.
    public let attempts: Int
    /// These three as the turn had them.
    public var idempotency: Turn.Idempotency?
    public var replayOf: TurnID?
    public var degradation: Turn.Degradation?
    /// Where generation was begun, oldest first, and why each attempt ended; at most `maximumAttemptLog` of them.
    public var attemptLog: [Attempt]?
    /// The W3C trace context under which the turn was ended; nil when nobody traces it.
    public var traceparent: String?
    public var tracestate: String?
    /// The turn's number in its conversation, as the turn had it; `position` reads it.
    public var sequence: Int64?

    public static let maximumAttemptLog = 64

    /// One order to one node.
    public struct Attempt: Sendable, Codable, Equatable {
        public var node: String
        /// Of the lease under which it was begun.
        public var epoch: Int64
        /// Unix time in milliseconds of the Redis clock.
        public var startedAt: Int64
        /// Nil while it goes on, and when its holder died before it could say.
        public var endReason: String?

        public init(node: String, epoch: Int64, startedAt: Int64, endReason: String? = nil) {
            self.node = node
            self.epoch = epoch
            self.startedAt = startedAt
            self.endReason = endReason
        }
    }

    public init(
        turn: TurnID, conversation: ConversationKey, beginsConversation: Bool, kind: Turn.Kind, status: Status,
        finishReason: FinishReason, error: String?, system: String?, message: String, response: String,
        eventEnds: [Int], usage: Usage, model: String, seed: UInt64, acceptedAt: Int64, firstTokenAt: Int64?,
        endedAt: Int64, attempts: Int, idempotency: Turn.Idempotency? = nil, replayOf: TurnID? = nil,
        degradation: Turn.Degradation? = nil, attemptLog: [Attempt]? = nil, traceparent: String? = nil,
        tracestate: String? = nil, sequence: Int64? = nil
    ) {
        self.turn = turn
        self.conversation = conversation
        self.beginsConversation = beginsConversation
        self.kind = kind
        self.status = status
        self.finishReason = finishReason
        self.error = error
        self.system = system
        self.message = message
        self.response = response
        self.eventEnds = eventEnds
        self.usage = usage
        self.model = model
        self.seed = seed
        self.acceptedAt = acceptedAt
        self.firstTokenAt = firstTokenAt
        self.endedAt = endedAt
        self.attempts = attempts
        self.idempotency = idempotency
        self.replayOf = replayOf
        self.degradation = degradation
        self.attemptLog = attemptLog
        self.traceparent = traceparent
        self.tracestate = tracestate
        self.sequence = sequence
    }

    /// Whether later turns of the conversation see this one: it has an answer, or the part that was read of one.
    public var isPartOfHistory: Bool { TurnOutcome.isPartOfHistory(status, response: response) }

    /// The same for whoever knows of the turn only these.
    public static func isPartOfHistory(_ status: Status, response: String) -> Bool {
        status != .failed && !response.isEmpty
    }
}
