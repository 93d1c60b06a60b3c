import ModelFile

/// Finds stop texts in the text of a turn's tokens.
protocol StopDetector {
    /// Whether this token completed a stop text.
    mutating func completesStop(_ token: Int32) -> Bool
}

extension TextAssembler: StopDetector {
    mutating func completesStop(_ token: Int32) -> Bool {
        _ = append(token)
        return stopped
    }
}

/// What the engine takes from a tokenizer.
struct StopRules: Sendable {
    /// Tokens that end a turn unless the request ignores them.
    var endTokens: Set<Int32> = []
    /// Makes the detector of one turn; nil when there is no tokenizer, and stop texts are then refused.
    var detector: (@Sendable ([String]) -> any StopDetector)?
}
