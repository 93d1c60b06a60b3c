/// Who guesses the tokens that a step verifies beside those that it must compute.
public enum SpeculationMode: String, Sendable, CaseIterable {
    /// Nobody: one token for each sequence and step.
    case off
    /// The text itself: tokens that followed the same words before.
    case lookup
    /// A smaller model with the same vocabulary.
    case draft
}

/// Speculative decoding. Whatever is set, the tokens are those that the model gives without it; only their speed differs.
public struct SpeculationConfiguration: Sendable {
    public var mode: SpeculationMode
    /// Tokens of one draft at most.
    public var longestDraft: Int
    var policy = Policy.measured

    enum Policy: Sendable {
        /// Drafts where measured acceptance and step times promise more tokens a second.
        case measured
        /// Drafts of this length always, for tests and comparisons.
        case always(Int)
    }

    public init(mode: SpeculationMode = .lookup, longestDraft: Int = 15) {
        self.mode = mode
        self.longestDraft = longestDraft
    }
}
