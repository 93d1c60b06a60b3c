/// Guesses the next tokens of a text from the last place where the text read the same: what is quoted, corrected or repeated has
/// stood there before (prompt lookup, Saxena 2023; LLMA, Yang et al. 2023, "Inference with reference").
///
/// An index from n-grams of the last 4, 3 and 2 tokens to where they were last followed by something. Appending a token writes one
/// entry for each size, whatever the length. The entries are direct-mapped: of two n-grams with one hash the later stays, and every
/// hit is compared with the text itself, so a lost entry costs a guess and never gives a wrong match.
struct PromptLookup {
    /// Where the text goes on as it did before.
    struct Match: Equatable {
        /// The place of the token that is likely to be next.
        var source: Int
        /// Tokens before `source` that equal the end of the text, at most ``longestMatch``.
        var length: Int
    }

    /// Sizes of n-grams, longest first.
    static let sizes = [4, 3, 2]
    /// Tokens compared to tell candidates apart.
    static let longestMatch = 32
    /// Entries for each size at most: 64 KiB.
    static let maximumEntries = 1 << 14
    private static let minimumEntries = 1 << 8

    /// For each size, `entries` places of the tokens after n-grams; 0 is vacant.
    private var tables: [[Int32]]
    private var entries: Int
    /// The first `indexed` tokens have entries for the n-grams that they follow.
    private var indexed = 0
    /// The match followed last and the length of the text at that time: a quotation goes on where it was, even where its words stand
    /// in a later place as well.
    private var followed: (source: Int, count: Int)?

    init() {
        entries = Self.minimumEntries
        tables = Self.sizes.map { _ in [Int32](repeating: 0, count: Self.minimumEntries) }
    }

    /// Bytes of the index.
    var byteCount: Int { tables.count * entries * MemoryLayout<Int32>.stride }

    /// The longest match of the end of `tokens`, of equals the latest; nil when no n-gram of them stood there before.
    ///
    /// - Parameter tokens: the whole text, which may have grown since the last call but must begin as it did.
    mutating func match(_ tokens: [Int32]) -> Match? {
        extend(tokens)
        var best: Match?
        func consider(_ source: Int, atLeast size: Int) {
            guard source != best?.source else { return }
            let length = Self.commonLength(tokens, endingBefore: source)
            guard length >= size else { return }
            if let found = best, (found.length, found.source) >= (length, source) { return }
            best = Match(source: source, length: length)
        }
        if let followed {
            let source = followed.source + tokens.count - followed.count
            if source < tokens.count { consider(source, atLeast: 1) }
        }
        for (table, size) in Self.sizes.enumerated() where size < tokens.count {
            let slot = Self.hash(tokens, from: tokens.count - size, count: size) & (entries - 1)
            let source = Int(tables[table][slot])
            if source > 0 { consider(source, atLeast: size) }
        }
        followed = best.map { ($0.source, tokens.count) }
        return best
    }

    /// The `count` tokens that follow a match. Where it reaches the end of the text, the text is taken to repeat itself.
    static func continuation(of match: Match, in tokens: [Int32], count: Int) -> [Int32] {
        let period = tokens.count - match.source
        guard period > 0, count > 0 else { return [] }
        return (0..<count).map { tokens[match.source + $0 % period] }
    }

    private mutating func extend(_ tokens: [Int32]) {
        if tokens.count > entries / 2, entries < Self.maximumEntries { grow(for: tokens.count) }
        if tokens.count < indexed { indexed = 0 }
        for place in max(indexed, 1)..<max(tokens.count, 1) {
            for (table, size) in Self.sizes.enumerated() where size <= place {
                tables[table][Self.hash(tokens, from: place - size, count: size) & (entries - 1)] = Int32(place)
            }
        }
        indexed = tokens.count
    }

    /// Larger tables, filled anew by the caller.
    private mutating func grow(for count: Int) {
        while entries < Self.maximumEntries, entries < count * 4 { entries *= 2 }
        for table in tables.indices { tables[table] = [Int32](repeating: 0, count: entries) }
        indexed = 0
    }

    private static func commonLength(_ tokens: [Int32], endingBefore source: Int) -> Int {
        let limit = min(source, longestMatch)
        var length = 0
        while length < limit, tokens[source - 1 - length] == tokens[tokens.count - 1 - length] { length += 1 }
        return length
    }

    private static func hash(_ tokens: [Int32], from start: Int, count: Int) -> Int {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        for offset in 0..<count {
            state = (state ^ UInt64(UInt32(bitPattern: tokens[start + offset]))) &* 0xD6E8_FEB8_6659_FD93
            state ^= state >> 32
        }
        // The high bits depend on every token, and the sign bit is left out.
        return Int(state >> 33)
    }
}
