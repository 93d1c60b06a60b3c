extension Tokenizer {
    /// Reads the tokenizer of a GGUF file: `tokenizer.ggml.model` is `gpt2` (byte-level BPE, with a pre-tokenizer by its
    /// name) or `llama` (SentencePiece's BPE).
    public convenience init(file: GGUFFile) throws(ModelFileError) {
        let reader = GGUFTokenizerReader(file: file)
        try self.init(reader.parts())
    }
}

/// Reads `tokenizer.ggml.*`. Defaults are llama.cpp's.
private struct GGUFTokenizerReader {
    let file: GGUFFile

    private var tokensKey: String { "tokenizer.ggml.tokens" }

    private func refusal(_ key: String, at index: Int? = nil, _ reason: String) -> ModelFileError {
        ModelFileError(offset: nil, field: "metadata '\(key)'" + (index.map { "[\($0)]" } ?? ""), reason: reason)
    }

    func parts() throws(ModelFileError) -> TokenizerParts {
        let key = "tokenizer.ggml.model"
        switch try file.string(key) {
        case "gpt2": return try byteLevel()
        case "llama": return try pieces()
        case let model:
            throw refusal(key, "'\(model)' is not supported (gpt2, byte-level BPE, and llama, SentencePiece, are)")
        }
    }

    private func byteLevel() throws(ModelFileError) -> TokenizerParts {
        let key = "tokenizer.ggml.pre"
        let isNamed = file.metadata[key] != nil
        let name = isNamed ? try file.string(key) : "default"
        guard let preTokenizer = PreTokenizer(name: name) else {
            throw refusal(key, "'\(name)' is not supported (gpt-2, smollm, llama-bpe, qwen2 and others are)")
        }
        let vocabulary = try vocabulary(.byteAlphabet)
        let model = ByteLevelModel(
            preTokenizer: preTokenizer, merges: try merges(vocabulary),
            byteTokens: vocabulary.byteTokens(.byteAlphabet),
            takesWholeWords: PreTokenizer.takesWholeWords(name: name))
        var parts = TokenizerParts(
            field: "metadata '\(tokensKey)'", vocabulary: vocabulary, model: .byteLevel(model))
        if !isNamed {
            parts.notes.append(
                "metadata '\(key)' is missing: text is split by the default pattern, perhaps not as in training")
        }
        try readSpecials(&parts, addBOS: PreTokenizer.beginsWithBOS(name: name))
        return parts
    }

    private func pieces() throws(ModelFileError) -> TokenizerParts {
        let vocabulary = try vocabulary(.piece)
        guard vocabulary.longest <= TokenTrie.lengthLimit else {
            throw refusal(
                tokensKey, "a token of \(vocabulary.longest) bytes is longer than \(TokenTrie.lengthLimit)")
        }
        let scores = try file.floats("tokenizer.ggml.scores")
        guard scores.count == vocabulary.count else {
            throw refusal(
                "tokenizer.ggml.scores", "has \(scores.count) elements for \(vocabulary.count) tokens")
        }
        if let index = scores.firstIndex(where: { !$0.isFinite }) {
            throw refusal("tokenizer.ggml.scores", at: index, "\(scores[index]) is not finite")
        }
        let model = PieceModel(
            order: .scores(scores.map { PieceModel.priority(Float($0)) }),
            byteTokens: vocabulary.byteTokens(.piece), unknown: try id("unknown", vocabulary, default: 0))
        var parts = TokenizerParts(field: "metadata '\(tokensKey)'", vocabulary: vocabulary, model: .pieces(model))
        let addsSpace = try file.bool("tokenizer.ggml.add_space_prefix", default: true)
        parts.normalizer = TextNormalizer(prefix: addsSpace ? .always : .never, unescapesSpaces: true)
        parts.dropsLeadingSpace = addsSpace
        parts.bos = 1
        parts.eos = 2
        try readSpecials(&parts, addBOS: true)
        return parts
    }

    /// A special token's id; the default where the file has none, or one that is no token.
    private func id(
        _ name: String, _ vocabulary: Vocabulary, default fallback: Int32? = nil
    ) throws(ModelFileError) -> Int32? {
        let fallback = fallback.flatMap { $0 < vocabulary.count ? $0 : nil }
        guard let id = try writtenID(name) else { return fallback }
        return (0..<vocabulary.count).contains(id) ? Int32(id) : fallback
    }

    /// What the file says, which may be no token at all.
    private func writtenID(_ name: String) throws(ModelFileError) -> Int? {
        let key = "tokenizer.ggml.\(name)_token_id"
        guard file.metadata[key] != nil else { return nil }
        // -1 stands for none in some files.
        return try file.integer(key)
    }

    private func readSpecials(_ parts: inout TokenizerParts, addBOS: Bool) throws(ModelFileError) {
        parts.bos = try id("bos", parts.vocabulary, default: parts.bos)
        parts.eos = try id("eos", parts.vocabulary, default: parts.eos)
        parts.stopTokens = [try id("eot", parts.vocabulary), try id("eom", parts.vocabulary)].compactMap { $0 }
        for name in ["bos", "eos", "eot", "eom", "unknown"] {
            guard let id = try writtenID(name), !(0..<parts.vocabulary.count).contains(id) else { continue }
            parts.notes.append(
                "metadata 'tokenizer.ggml.\(name)_token_id' is \(id), which is no token: it is passed over")
        }
        parts.addBOS = try file.bool("tokenizer.ggml.add_bos_token", default: addBOS)
        parts.addEOS = try file.bool("tokenizer.ggml.add_eos_token", default: false)
    }

    private func vocabulary(_ spelling: Vocabulary.Spelling) throws(ModelFileError) -> Vocabulary {
        let total = try file.arrayCount(tokensKey)
        guard (1...Vocabulary.tokenLimit).contains(total) else {
            throw refusal(tokensKey, "\(total) tokens are not in 1...\(Vocabulary.tokenLimit)")
        }
        let kinds = try kinds(count: total)
        var ends: Set<Int> = []
        for name in ["eos", "eot", "eom"] { if let id = try writtenID(name) { ends.insert(id) } }
        var vocabulary = Vocabulary(capacity: total)
        var merged: Set<[UInt8]>?
        try file.forEachString(tokensKey) { (index, text) throws(ModelFileError) in
            // llama.cpp goes by the name even where a file calls such a token normal.
            var endsTurns = ends.contains(index) || EndNames.contains(text)
            if endsTurns, kinds[index] == .normal, EndNames.isMarkup(text) {
                // What merges make is a piece of text, such as the end of an element of HTML.
                if merged == nil { merged = try mergedMarkup() }
                endsTurns = merged?.contains(Array(text)) != true
            }
            guard vocabulary.append(text, kinds[index], spelling, endsTurns: endsTurns) else {
                throw refusal(tokensKey, at: index, "the tokens take more than \(Vocabulary.arenaLimit) bytes")
            }
        }
        return vocabulary
    }

    /// Tokens like `<...>` that merges make.
    private func mergedMarkup() throws(ModelFileError) -> Set<[UInt8]> {
        let key = "tokenizer.ggml.merges"
        guard file.metadata[key] != nil else { return [] }
        var made: Set<[UInt8]> = []
        try file.forEachString(key) { (_, text) throws(ModelFileError) in
            guard let first = text.first, first == UInt8(ascii: "<") || first == UInt8(ascii: "[") else { return }
            let token = text.filter { $0 != 0x20 }
            if EndNames.isMarkup(token) { made.insert(token) }
        }
        return made
    }

    private func kinds(count: Int) throws(ModelFileError) -> [Vocabulary.Kind] {
        let key = "tokenizer.ggml.token_type"
        guard file.metadata[key] != nil else { return [Vocabulary.Kind](repeating: .normal, count: count) }
        let values = try file.integers(key)
        guard values.count == count else { throw refusal(key, "has \(values.count) elements for \(count) tokens") }
        var kinds: [Vocabulary.Kind] = []
        kinds.reserveCapacity(count)
        for (index, value) in values.enumerated() {
            guard let raw = UInt8(exactly: value), let kind = Vocabulary.Kind(rawValue: raw) else {
                throw refusal(key, at: index, "\(value) is no token type")
            }
            kinds.append(kind)
        }
        return kinds
    }

    private func merges(_ vocabulary: Vocabulary) throws(ModelFileError) -> MergeTable {
        let key = "tokenizer.ggml.merges"
        let count = try file.arrayCount(key)
        guard count <= MergeTable.limit else { throw refusal(key, "\(count) merges are more than \(MergeTable.limit)") }
        var table = MergeTable(capacity: count)
        try file.forEachString(key) { (rank, text) throws(ModelFileError) in
            // The alphabet has no space, so that the only space is the one between the two.
            guard let space = text.firstIndex(of: 0x20) else {
                throw refusal(key, at: rank, "has no space between two tokens")
            }
            let problem = table.append(text[..<space], text[(space + 1)...], vocabulary, .byteAlphabet)
            if let problem { throw refusal(key, at: rank, problem) }
        }
        return table
    }
}
