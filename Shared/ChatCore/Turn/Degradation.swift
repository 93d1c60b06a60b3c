/// What a turn was given less of, because the cluster was busy when it was accepted. Frozen at accept, since it changes
/// tokens; shown in the answer's metadata, so that nobody takes a short answer for all that the model had to say.
public struct Degradation: Sendable, Codable, Equatable {
    public enum Step: String, Sendable, Codable, CaseIterable {
        /// The answer is that of an identical, deterministic request of the same tenant. Stands in outcomes only:
        /// whether there is such an answer is found out when the prompt is known.
        case cachedAnswer = "cached_answer"
        /// History fills the prompt to `contextTokens` only.
        case shorterContext = "shorter_context"
        /// `max_tokens` was lowered from `requestedMaxTokens`.
        case fewerTokens = "fewer_tokens"
        /// The model is another one than `requestedModel`.
        case lighterModel = "lighter_model"
    }

    /// In the order in which they were taken.
    public var steps: [Step]
    /// Tokens to which history may fill a prompt; what is no history stays whole.
    public var contextTokens: Int?
    public var requestedMaxTokens: Int?
    public var requestedModel: String?

    public init(
        steps: [Step], contextTokens: Int? = nil, requestedMaxTokens: Int? = nil, requestedModel: String? = nil
    ) {
        self.steps = steps
        self.contextTokens = contextTokens
        self.requestedMaxTokens = requestedMaxTokens
        self.requestedModel = requestedModel
    }
}

/// How a deterministic turn shares answers with identical ones of its tenant; a turn without it does not.
public struct AnswerUse: Sendable, Codable, Equatable {
    /// The digest of all that the answer follows from, as it was known at accept.
    public var key: String
    /// Whether another turn's answer may be given; the turn's own is kept in either case.
    public var mayReuse: Bool

    public init(key: String, mayReuse: Bool) {
        self.key = key
        self.mayReuse = mayReuse
    }
}
