/// Why an attempt ended before its turn, as a label: what the attempt log says, without names and numbers.
enum RetryReason: String, CaseIterable {
    case nodeLost = "node_lost"
    case tokensLost = "tokens_lost"
    case nodeSilent = "node_silent"
    case notTaken = "not_taken"
    case givenBack = "given_back"
    case failed
    case otherNumerics = "other_numerics"
    /// The turn could not be planned: its history is out of reach.
    case history

    /// - Returns: nil for what is no retry: the turn ended, or another has it.
    init?(verdict: String) {
        switch verdict {
        case "the node was lost": self = .nodeLost
        case "tokens were lost": self = .tokensLost
        case "the node fell silent": self = .nodeSilent
        case "the node did not take the job": self = .notTaken
        case "a node of another numerics id": self = .otherNumerics
        case _ where verdict.hasPrefix("given back: "): self = .givenBack
        case _ where verdict.hasPrefix("failed: "): self = .failed
        default: return nil
        }
    }
}
