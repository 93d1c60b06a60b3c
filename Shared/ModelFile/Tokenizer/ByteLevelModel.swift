/// Byte-level BPE (GPT-2): text is split into words, and the bytes of each word are merged.
struct ByteLevelModel {
    let preTokenizer: PreTokenizer
    let merges: MergeTable
    /// The token of each single byte, -1 for none.
    let byteTokens: [Int32]
    /// A word that is a token as a whole is not merged: Llama 3's vocabulary has tokens that no merges lead to.
    let takesWholeWords: Bool

    func encode(
        _ text: UnsafeRawBufferPointer, _ vocabulary: Vocabulary, _ merger: inout SymbolMerger,
        limit: Int, into output: inout [Int32]
    ) {
        preTokenizer.forEachWord(text) { range in
            guard output.count < limit else { return false }
            let word = UnsafeRawBufferPointer(rebasing: text[range])
            if takesWholeWords, let token = vocabulary.find(word) {
                output.append(token)
                return true
            }
            if word.count == 1 {
                if byteTokens[Int(word[0])] >= 0 { output.append(byteTokens[Int(word[0])]) }
                return true
            }
            merger.removeAll()
            for (index, byte) in word.enumerated() {
                merger.append(token: byteTokens[Int(byte)], bytes: index..<index + 1)
            }
            merger.merge(merges)
            // A byte that is not in the vocabulary is left out, as in llama.cpp.
            merger.forEachSymbol { if $0.token >= 0 { output.append($0.token) } }
            return true
        }
    }
}
