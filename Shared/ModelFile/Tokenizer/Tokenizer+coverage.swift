extension Tokenizer {
    /// Bytes of printable ASCII (U+0020 to U+007E) that one token stands for at most: a text with n of them has no fewer
    /// than n / this tokens. Nil where there is no such bound: where an unknown stretch may become one token, a token takes
    /// the whitespace beside it, or text is composed.
    public var longestCoverage: Int? {
        guard case .byteLevel(let bytes) = model, !takesWhitespace, !composes,
            // Other bytes may be in no token, and are then left out.
            bytes.byteTokens[0x20...0x7E].allSatisfy({ $0 >= 0 })
        else { return nil }
        var longest = 0
        for token in 0..<Int32(clamping: vocabularySize) { longest = max(longest, vocabulary.bytes(token).count) }
        return longest
    }
}
