import Foundation

extension Tokenizer {
    /// Reads the tokenizer of a Hugging Face folder: byte-level BPE, BPE over pieces (Llama 2's form) and Unigram, with the steps
    /// around them that such models use. A step, a model or a regular expression that is not known is refused by name.
    ///
    /// - Parameters:
    ///   - tokenizerJSON: The contents of `tokenizer.json`.
    ///   - tokenizerConfig: The contents of `tokenizer_config.json`: which tokens begin and end a text.
    ///   - stopTokens: Further tokens that end a turn, as `eos_token_id` of `config.json` or `generation_config.json`
    ///     names them. Ids outside of the vocabulary are ignored.
    public convenience init(
        tokenizerJSON: Data, tokenizerConfig: Data? = nil, stopTokens: [Int32] = []
    ) throws(ModelFileError) {
        let root = try JSONValue([UInt8](tokenizerJSON), name: "tokenizer.json")
        var config: JSONValue?
        if let tokenizerConfig { config = try JSONValue([UInt8](tokenizerConfig), name: "tokenizer_config.json") }
        try self.init(try TokenizerJSON(root: root, config: config, stopTokens: stopTokens).parts())
    }
}

/// Puts a tokenizer together from `tokenizer.json` and `tokenizer_config.json`.
struct TokenizerJSON {
    let root: JSONValue
    let config: JSONValue?
    /// Ids that end a turn as other files say, which may be no tokens at all.
    var stopTokens: [Int32] = []

    func parts() throws(ModelFileError) -> TokenizerParts {
        let model = try root.required("model")
        let type = try model["type"]?.string() ?? (model["merges"] == nil ? "without a type" : "BPE")
        guard type == "BPE" || type == "Unigram" else {
            throw model.refusal("a model '\(type)' is not supported (BPE and Unigram are)")
        }
        let pipeline = try TokenizerPipeline(root)
        let tokens = try TokenList(root, model: model)
        let specials = try specials(tokens)
        let vocabulary = try tokens.vocabulary(
            pipeline.spelling, isByteFallback: isSet(model, "byte_fallback"),
            ends: Set(stopTokens + [specials.eos].compactMap { $0 }))
        var parts = TokenizerParts(
            field: "tokenizer.json 'added_tokens'", vocabulary: vocabulary,
            model: try type == "BPE"
                ? bytePairModel(model, pipeline, tokens, vocabulary) : unigramModel(model, pipeline, tokens, vocabulary)
        )
        parts.normalizer = pipeline.normalizer
        parts.preparation = pipeline.preparation
        parts.dropsLeadingSpace = pipeline.dropsLeadingSpace
        parts.strips = tokens.strips
        if !pipeline.normalizer.isIdentity { parts.matchedAfterNormalizing = tokens.normalized }
        parts.stopTokens = stopTokens.filter { $0 >= 0 && $0 < vocabulary.count }
        parts.bos = specials.bos
        parts.eos = specials.eos
        parts.addBOS = specials.addBOS
        parts.addEOS = specials.addEOS
        return parts
    }

    private func bytePairModel(
        _ model: JSONValue, _ pipeline: TokenizerPipeline, _ tokens: TokenList, _ vocabulary: Vocabulary
    ) throws(ModelFileError) -> TokenModel {
        for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let affix = model[name], try !affix.string().isEmpty { throw affix.refusal("is not supported") }
        }
        if let dropout = model["dropout"], try dropout.double() != 0 { throw dropout.refusal("is not supported") }
        let merges = try tokens.merges(model, vocabulary, pipeline.spelling)
        let takesWholeWords = try isSet(model, "ignore_merges")
        switch pipeline.spelling {
        case .byteAlphabet:
            return .byteLevel(
                ByteLevelModel(
                    preTokenizer: PreTokenizer(patterns: pipeline.patterns), merges: merges,
                    byteTokens: vocabulary.byteTokens(.byteAlphabet), takesWholeWords: takesWholeWords))
        case .piece:
            var unknown: Int32?
            if let name = model["unk_token"] { unknown = try tokens.id(of: name) }
            return .pieces(
                PieceModel(
                    order: .merges(merges), byteTokens: vocabulary.byteTokens(.piece), unknown: unknown,
                    fusesUnknown: try isSet(model, "fuse_unk"), takesWholeWords: takesWholeWords,
                    splitsAtSpaces: pipeline.splitsAtSpaces))
        }
    }

    private func unigramModel(
        _ model: JSONValue, _ pipeline: TokenizerPipeline, _ tokens: TokenList, _ vocabulary: Vocabulary
    ) throws(ModelFileError) -> TokenModel {
        guard pipeline.spelling == .piece else { throw model.refusal("a byte-level Unigram model is not supported") }
        let unknown = try model["unk_id"]?.int(in: 0...vocabulary.count - 1)
        return .unigram(
            try UnigramModel(
                vocabulary, scores: tokens.scores, unknown: unknown.map { Int32($0) },
                byteTokens: vocabulary.byteTokens(.piece), splitsAtSpaces: pipeline.splitsAtSpaces,
                field: "tokenizer.json 'model.vocab'"))
    }

    private func isSet(_ value: JSONValue, _ name: String) throws(ModelFileError) -> Bool {
        guard let flag = value[name] else { return false }
        return try flag.bool()
    }

    /// The tokens at the ends of a text: `post_processor` adds them, unless `tokenizer_config.json` says otherwise.
    private func specials(
        _ tokens: TokenList
    ) throws(ModelFileError) -> (bos: Int32?, eos: Int32?, addBOS: Bool, addEOS: Bool) {
        let template = try root["post_processor"].map { (value) throws(ModelFileError) in
            try ends(value, tokens.count)
        }
        let named = (bos: try token("bos_token", tokens), eos: try token("eos_token", tokens))
        return (
            template?.begin ?? named.bos, named.eos ?? template?.end,
            try config?["add_bos_token"]?.bool() ?? (template?.begin != nil),
            try config?["add_eos_token"]?.bool() ?? (template?.end != nil)
        )
    }

    /// A token that the configuration names by its text, or by an object that has the text.
    private func token(_ name: String, _ tokens: TokenList) throws(ModelFileError) -> Int32? {
        guard let value = config?[name] else { return nil }
        return try tokens.id(of: value.kind == .object ? value.required("content") : value)
    }

    private func ends(
        _ processor: JSONValue, _ count: Int
    ) throws(ModelFileError) -> (begin: Int32?, end: Int32?) {
        switch try processor.required("type").string() {
        case "ByteLevel": return (nil, nil)
        case "Sequence":
            var result: (begin: Int32?, end: Int32?) = (nil, nil)
            for step in try processor.required("processors").elements() {
                let more = try ends(step, count)
                result = (result.begin ?? more.begin, result.end ?? more.end)
            }
            return result
        case "TemplateProcessing":
            let single = try processor.required("single")
            var begin: [Int32] = []
            var end: [Int32] = []
            var isAfterText = false
            for step in try single.elements() {
                guard let special = step["SpecialToken"] else {
                    guard step["Sequence"] != nil, !isAfterText else { throw step.refusal("is not supported") }
                    isAfterText = true
                    continue
                }
                let name = try special.required("id").string()
                let ids = try processor.required("special_tokens").required(name).required("ids")
                for id in try ids.elements() {
                    let token = Int32(try id.int(in: 0...max(count - 1, 0)))
                    if isAfterText { end.append(token) } else { begin.append(token) }
                }
            }
            guard isAfterText, begin.count <= 1, end.count <= 1 else {
                throw single.refusal("more than one token before or after the text is not supported")
            }
            return (begin.first, end.first)
        case let type: throw processor.refusal("'\(type)' is not supported (TemplateProcessing and ByteLevel are)")
        }
    }
}
