/// Unigram: of all ways to cut a text into pieces the one whose scores, logarithms of probabilities, have the greatest
/// sum (Kudo, "Subword Regularization", found by Viterbi's algorithm). A character that is no piece costs as much as the
/// worst piece and a penalty. Linear time: no piece is longer than the trie allows.
struct UnigramModel {
    /// Bytes of all pieces together.
    static let limit = 4 << 20
    private static var unknownPenalty: Double { 10 }

    let pieces: TokenTrie
    /// By token.
    let scores: [Double]
    let unknownScore: Double
    /// The token of each single byte, -1 for none.
    let byteTokens: [Int32]
    let unknown: Int32?
    let splitsAtSpaces: Bool

    init(
        _ vocabulary: Vocabulary, scores: [Double], unknown: Int32?, byteTokens: [Int32], splitsAtSpaces: Bool,
        field: String
    ) throws(ModelFileError) {
        // Names of control tokens and of bytes are no text that pieces are made of.
        let names = (0..<Int32(vocabulary.count)).filter { token in
            switch vocabulary.kind(token) {
            case .normal, .userDefined, .unused, .undefined: true
            default: false
            }
        }
        pieces = try TokenTrie(names.map { ($0, vocabulary.bytes($0)) }, limit: Self.limit, field: field)
        self.scores = scores
        unknownScore = (scores.min() ?? 0) - Self.unknownPenalty
        self.byteTokens = byteTokens
        self.unknown = unknown
        self.splitsAtSpaces = splitsAtSpaces
    }

    func encode(_ text: UnsafeRawBufferPointer, limit: Int, into output: inout [Int32]) {
        Spaces.forEachWord(text, splits: splitsAtSpaces) { word in
            if output.count < limit { encode(word: word, into: &output) }
        }
    }

    /// The best way to cut the text before a place.
    private struct Cut {
        /// -1 for a character without a piece.
        var token: Int32 = -1
        /// Where its last piece begins, -1 where no way is known.
        var start = -1
        var score = 0.0
    }

    private func encode(word: UnsafeRawBufferPointer, into output: inout [Int32]) {
        var cuts = [Cut](repeating: Cut(), count: word.count + 1)
        var position = 0
        while position < word.count {
            let before = cuts[position].score
            let first = word[position]
            let next = min(position + (first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4), word.count)
            func offer(_ token: Int32, _ end: Int, _ score: Double) {
                guard cuts[end].start < 0 || score > cuts[end].score else { return }
                cuts[end] = Cut(token: token, start: position, score: score)
            }
            var isPiece = false
            pieces.forEachMatch(word, at: position) { token, end in
                isPiece = isPiece || end == next
                offer(token, end, before + scores[Int(token)])
            }
            if !isPiece { offer(-1, next, before + unknownScore) }
            position = next
        }
        append(cuts, word, into: &output)
    }

    /// Walks back from the end. Characters in a row that have no piece become their bytes, or one unknown token.
    private func append(_ cuts: [Cut], _ word: UnsafeRawBufferPointer, into output: inout [Int32]) {
        var reversed: [Int32] = []
        var end = word.count
        while end > 0 {
            var start = cuts[end].start
            if cuts[end].token >= 0 {
                reversed.append(cuts[end].token)
            } else {
                while start > 0, cuts[start].token < 0 { start = cuts[start].start }
                let bytes = word[start..<end].map { byteTokens[Int($0)] }
                if !bytes.contains(-1) {
                    reversed.append(contentsOf: bytes.reversed())
                } else if let unknown {
                    reversed.append(unknown)
                }
            }
            end = start
        }
        output.append(contentsOf: reversed.reversed())
    }
}
