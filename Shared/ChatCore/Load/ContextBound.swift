/// What a model's context can hold of text, at most: said by orchestrators, so that a gateway can refuse at once what no
/// planning could make fit.
public struct ContextBound: Sendable, Codable, Equatable {
    /// Tokens of prompt and answer.
    public let tokens: Int
    /// Bytes of printable ASCII that one token stands for at most.
    public let bytesPerToken: Int

    public init(tokens: Int, bytesPerToken: Int) {
        self.tokens = tokens
        self.bytesPerToken = bytesPerToken
    }

    /// Bytes of printable ASCII beyond which no text fits; nil when the numbers are none, or say nothing.
    public var bytes: Int? {
        guard tokens > 0, bytesPerToken > 0 else { return nil }
        let (bytes, isOver) = tokens.multipliedReportingOverflow(by: bytesPerToken)
        return isOver ? nil : bytes
    }
}
