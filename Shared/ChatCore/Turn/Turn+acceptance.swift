extension Turn {
    /// What tells a repeated request from a new one, within the turn's user.
    public struct Idempotency: Sendable, Codable, Equatable {
        /// As the client wrote it: 1 to `maximumKeyBytes` visible ASCII characters.
        public let key: String
        /// SHA-256 of what was asked for, in lower-case hexadecimal: the same key with another digest is a mistake.
        public let requestDigest: String

        public static let maximumKeyBytes = 255
        public static let digestCharacters = 64

        public init(key: String, requestDigest: String) {
            self.key = key
            self.requestDigest = requestDigest
        }
    }

    /// How a turn was made cheaper, at accept because the platform was overloaded, or by its plan because model or nodes hold
    /// no more. The turn's own values, or its plan's, are the cheaper ones already; this says what they would have been.
    public struct Degradation: Sendable, Codable, Equatable {
        /// The tokens that the prompt may have, where earlier turns were left out for it, or may have to be.
        public var contextTokens: Int?
        /// `max_tokens` before it was lowered.
        public var requestedMaxTokens: Int?
        /// The model before a lighter one took its place.
        public var requestedModel: String?
        /// The turn whose answer was given again.
        public var answerOf: TurnID?

        public init(
            contextTokens: Int? = nil, requestedMaxTokens: Int? = nil, requestedModel: String? = nil,
            answerOf: TurnID? = nil
        ) {
            self.contextTokens = contextTokens
            self.requestedMaxTokens = requestedMaxTokens
            self.requestedModel = requestedModel
            self.answerOf = answerOf
        }
    }
}
