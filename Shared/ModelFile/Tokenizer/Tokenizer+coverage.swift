extension Tokenizer {
    /// Canonical composition makes one byte of three at most; one more for safety.
    private static var composition: Int { 4 }

    /// Bytes of text that one token stands for at most: a text of n bytes has no fewer than n / this tokens. Nil where there
    /// is no such bound: where an unknown stretch may become one token, or a token takes the whitespace beside it.
    public var longestCoverage: Int? {
        guard case .byteLevel(let bytes) = model, bytes.byteTokens.allSatisfy({ $0 >= 0 }), !takesWhitespace else {
            return nil
        }
        var longest = 0
        for token in 0..<Int32(clamping: vocabularySize) { longest = max(longest, vocabulary.bytes(token).count) }
        return longest * (composes ? Tokenizer.composition : 1)
    }
}
