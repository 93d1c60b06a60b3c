/// BPE over characters with pieces in which spaces are part (SentencePiece): the text is not split into words, or at
/// spaces only. What has no piece becomes the tokens of its bytes.
struct PieceModel {
    enum Order {
        /// The pair whose piece has the best score merges first (SentencePiece, `llama` in GGUF). By token: the less
        /// the better, as `PieceModel.priority` makes them of scores.
        case scores([UInt32])
        /// Merges are listed (tokenizer.json).
        case merges(MergeTable)
    }

    let order: Order
    /// The token of each single byte, -1 for none.
    let byteTokens: [Int32]
    let unknown: Int32?
    /// Whether unknown characters in a row make one token.
    var fusesUnknown = false
    var takesWholeWords = false
    /// Whether each space begins a word that nothing merges across.
    var splitsAtSpaces = false

    func encode(
        _ text: UnsafeRawBufferPointer, _ vocabulary: Vocabulary, _ merger: inout SymbolMerger,
        limit: Int, into output: inout [Int32]
    ) {
        Spaces.forEachWord(text, splits: splitsAtSpaces) { word in
            guard output.count < limit else { return }
            if takesWholeWords, let token = vocabulary.find(word) {
                output.append(token)
                return
            }
            merger.removeAll()
            switch order {
            case .scores(let priorities):
                // A character without a piece is in the game: a longer piece may have it.
                forEachCharacter(word) { merger.append(token: vocabulary.find($1) ?? -1, bytes: $0) }
                merger.merge(ScoredPieces(text: word, vocabulary: vocabulary, priorities: priorities))
                merger.forEachSymbol { symbol in
                    if symbol.token >= 0 {
                        output.append(symbol.token)
                    } else {
                        let bytes = word[Int(symbol.start)..<Int(symbol.end)]
                        output.append(contentsOf: fallback(bytes) ?? (unknown.map { [$0] } ?? []))
                    }
                }
            case .merges(let merges):
                prepare(word, vocabulary, &merger)
                merger.merge(merges)
                merger.forEachSymbol { output.append($0.token) }
            }
        }
    }

    /// Characters, or where they have no piece their bytes, or the unknown token.
    private func prepare(_ word: UnsafeRawBufferPointer, _ vocabulary: Vocabulary, _ merger: inout SymbolMerger) {
        var isAfterUnknown = false
        forEachCharacter(word) { range, character in
            let wasAfterUnknown = isAfterUnknown
            isAfterUnknown = false
            if let token = vocabulary.find(character) {
                merger.append(token: token, bytes: range)
            } else if let bytes = fallback(character[...]) {
                for (offset, token) in bytes.enumerated() {
                    merger.append(token: token, bytes: range.lowerBound + offset..<range.lowerBound + offset + 1)
                }
            } else if let unknown {
                isAfterUnknown = true
                if !(fusesUnknown && wasAfterUnknown) { merger.append(token: unknown, bytes: range) }
            }
        }
    }

    /// The tokens of the bytes, if each has one.
    private func fallback(_ bytes: Slice<UnsafeRawBufferPointer>) -> [Int32]? {
        let tokens = bytes.map { byteTokens[Int($0)] }
        return tokens.contains(-1) ? nil : tokens
    }

    /// The byte ranges of the scalars of valid UTF-8.
    private func forEachCharacter(_ text: UnsafeRawBufferPointer, _ body: (Range<Int>, UnsafeRawBufferPointer) -> Void)
    {
        var start = 0
        while start < text.count {
            let first = text[start]
            let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
            let range = start..<min(start + length, text.count)
            body(range, UnsafeRawBufferPointer(rebasing: text[range]))
            start = range.upperBound
        }
    }

    /// An integer that is the less the greater the score; the score is no NaN.
    static func priority(_ score: Float) -> UInt32 {
        // + 0 makes one zero of the two.
        let bits = (score + 0).bitPattern
        return bits >> 31 == 0 ? ~(bits | 1 << 31) : bits
    }
}

/// Two neighbours merge when their text together is a piece.
private struct ScoredPieces: MergeRule {
    let text: UnsafeRawBufferPointer
    let vocabulary: Vocabulary
    let priorities: [UInt32]

    func merge(_ left: SymbolMerger.Symbol, _ right: SymbolMerger.Symbol) -> (priority: UInt32, token: Int32)? {
        let both = UnsafeRawBufferPointer(rebasing: text[Int(left.start)..<Int(right.end)])
        guard let token = vocabulary.find(both) else { return nil }
        return (priorities[Int(token)], token)
    }
}
