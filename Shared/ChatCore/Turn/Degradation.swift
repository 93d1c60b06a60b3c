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

/// What a deterministic turn may do with the answers of identical ones; a turn without it does neither.
public enum AnswerUse: String, Sendable, Codable {
    /// Its answer is kept for others.
    case keep
    /// The same, and it may be answered by what another one kept.
    case reuse
}
