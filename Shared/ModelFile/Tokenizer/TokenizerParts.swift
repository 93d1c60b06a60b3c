/// What a tokenizer is made of, as the reader of a file finds it.
struct TokenizerParts {
    /// What errors name when the special tokens are at fault.
    let field: String
    let vocabulary: Vocabulary
    let model: TokenModel
    var normalizer = TextNormalizer()
    /// What happens after special tokens were looked for in the normalized text.
    var preparation = TextNormalizer()
    /// Special tokens that are looked for in the normalized text instead of the text as it is; their names are
    /// normalized too.
    var matchedAfterNormalizing: Set<Int32> = []
    var strips: [Int32: SpecialTokens.Strip] = [:]
    var bos: Int32?
    var eos: Int32?
    /// Tokens that end a turn, besides `eos` and those that are known by their names.
    var stopTokens: [Int32] = []
    /// See ``Tokenizer/notes``.
    var notes: [String] = []
    var addBOS = false
    var addEOS = false
    var dropsLeadingSpace = false
}

/// The step from text to tokens. It may end with the word that brings the output to `limit` ids.
enum TokenModel {
    case byteLevel(ByteLevelModel)
    case pieces(PieceModel)
    case unigram(UnigramModel)

    /// The token of each single byte, -1 for none.
    var byteTokens: [Int32] {
        switch self {
        case .byteLevel(let model): model.byteTokens
        case .pieces(let model): model.byteTokens
        case .unigram(let model): model.byteTokens
        }
    }

    var isByteLevel: Bool {
        if case .byteLevel = self { true } else { false }
    }

    func encode(
        _ text: UnsafeRawBufferPointer, _ vocabulary: Vocabulary, _ merger: inout SymbolMerger,
        limit: Int, into output: inout [Int32]
    ) {
        switch self {
        case .byteLevel(let model): model.encode(text, vocabulary, &merger, limit: limit, into: &output)
        case .pieces(let model): model.encode(text, vocabulary, &merger, limit: limit, into: &output)
        case .unigram(let model): model.encode(text, limit: limit, into: &output)
        }
    }
}
