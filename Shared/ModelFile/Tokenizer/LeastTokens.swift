/// How few tokens a text can have, known from its bytes alone: what is far too long need not be tokenized, which takes a
/// hundred times as long.
///
/// A token of n bytes gives each of them a share of 1/n. No byte can have less than one over the length of the longest token
/// that it stands in, so a text has at least as many tokens as those shares add up to.
struct LeastTokens {
    /// A whole token, in the unit of `shares`.
    private static let whole: UInt64 = 1 << 20

    /// By byte: its least share, 0 where it may be in no token.
    private let shares: [UInt64]

    init(_ vocabulary: Vocabulary, _ model: TokenModel) {
        var longest = [UInt64](repeating: 1, count: 256)
        for token in 0..<Int32(clamping: vocabulary.count) {
            let bytes = vocabulary.bytes(token)
            for byte in bytes { longest[Int(byte)] = max(longest[Int(byte)], UInt64(bytes.count)) }
        }
        let alone = model.byteTokens.map { $0 >= 0 }
        // Without a token for each byte an unknown stretch of any length may become one token.
        let counts = model.isByteLevel || alone.allSatisfy { $0 }
        shares = zip(longest, alone).map { counts && $1 ? Self.whole / $0 : 0 }
    }

    /// Whether the text certainly has at least `count` tokens.
    func reach(_ count: Int, in text: UnsafeRawBufferPointer) -> Bool {
        guard count > 0 else { return true }
        // No token is of no bytes. Nearly every text ends here.
        guard text.count >= count else { return false }
        // Any share beyond so many whole tokens belongs to one more.
        let enough = UInt64(count - 1) * Self.whole
        var sum: UInt64 = 0
        return shares.withUnsafeBufferPointer { shares in
            for byte in text {
                sum += shares[Int(byte)]
                if sum > enough { return true }
            }
            return false
        }
    }
}
