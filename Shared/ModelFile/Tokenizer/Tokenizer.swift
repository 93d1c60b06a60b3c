/// Text to token ids and back, with the vocabulary of a model file: byte-level BPE (`tokenizer.ggml.model` = `gpt2`)
/// with the pre-tokenizers `gpt-2`, `smollm` and `llama-bpe`. Gives the ids that llama.cpp gives.
public final class Tokenizer: Sendable {
    public let vocabularySize: Int
    /// The token a text begins with, where the model has one.
    public let bos: Int32?
    public let eos: Int32?
    /// Every token that ends the model's turn: end of text, of turn, of message.
    public let stopTokens: Set<Int32>
    /// Whether `encode(addSpecial: true)` begins with `bos`.
    public let addBOS: Bool
    /// Whether `encode(addSpecial: true)` ends with `eos`.
    public let addEOS: Bool

    private let vocabulary: Vocabulary
    private let special: SpecialTokenTrie
    private let preTokenizer: PreTokenizer
    /// A word that is a token as a whole is not merged: Llama 3's vocabulary has tokens that no merges lead to.
    private let prefersWholeWords: Bool
    private let merges: PairTable
    /// The token of each single byte, -1 for none.
    private let byteTokens: [Int32]
    private let hasUserDefinedTokens: Bool

    public init(file: GGUFFile) throws(ModelFileError) {
        let model = try file.string("tokenizer.ggml.model")
        guard model == "gpt2" else {
            throw ModelFileError(
                offset: nil, field: "metadata 'tokenizer.ggml.model'",
                reason: "'\(model)' is not supported (gpt2, byte-level BPE, is)")
        }
        let pre = try file.string("tokenizer.ggml.pre")
        guard let preTokenizer = PreTokenizer(name: pre) else {
            throw ModelFileError(
                offset: nil, field: "metadata 'tokenizer.ggml.pre'",
                reason: "'\(pre)' is not supported (gpt-2, smollm and llama-bpe are)")
        }
        let vocabulary = try Vocabulary(file: file)
        func id(_ name: String) throws(ModelFileError) -> Int32? {
            let key = "tokenizer.ggml.\(name)_token_id"
            guard file.metadata[key] != nil else { return nil }
            return Int32(try file.int(key, in: 0...vocabulary.count - 1))
        }
        bos = try id("bos")
        eos = try id("eos")
        let named = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>"]
        var stops = Set(vocabulary.controls(named))
        for token in [eos, try id("eot"), try id("eom")] { if let token { stops.insert(token) } }
        stopTokens = stops
        addBOS = try file.bool("tokenizer.ggml.add_bos_token", default: preTokenizer == .llama3)
        addEOS = try file.bool("tokenizer.ggml.add_eos_token", default: false)

        vocabularySize = vocabulary.count
        special = try SpecialTokenTrie(vocabulary)
        hasUserDefinedTokens = vocabulary.contains(.userDefined)
        byteTokens = (0...255).map { (byte: UInt8) in
            withUnsafeBytes(of: byte) { vocabulary.find($0) ?? -1 }
        }
        merges = try PairTable.merges(file, vocabulary)
        prefersWholeWords = preTokenizer == .llama3
        self.preTokenizer = preTokenizer
        self.vocabulary = vocabulary
    }

    /// The ids of `text`. The time grows as n log n with the length of the text, whatever it holds.
    ///
    /// - Parameters:
    ///   - parseSpecial: Whether the name of a control token inside `text` becomes that token. Never true for a text
    ///     that comes from a user.
    ///   - addSpecial: Whether the model's begin and end tokens are put around the text, where its file asks for them.
    public func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool = false) -> [Int32] {
        var output: [Int32] = []
        if addSpecial, addBOS, let bos { output.append(bos) }
        var text = text
        text.withUTF8 { encode(UnsafeRawBufferPointer($0), parseSpecial: parseSpecial, into: &output) }
        if addSpecial, addEOS, let eos { output.append(eos) }
        return output
    }

    /// The bytes that a token adds to the text: any bytes, not always whole characters. Empty for control tokens, unless
    /// `includingSpecial`, and for ids that are not in the vocabulary. A view into the vocabulary, not a copy.
    public func bytes(of token: Int32, includingSpecial: Bool = false) -> ArraySlice<UInt8> {
        guard token >= 0, token < vocabularySize else { return [] }
        switch vocabulary.kind(token) {
        case .control, .unknown: return includingSpecial ? vocabulary.bytes(token) : []
        default: return vocabulary.bytes(token)
        }
    }

    /// The text of the tokens together; bytes that are no UTF-8 become U+FFFD. For a text that comes token by token, use
    /// `TextAssembler`.
    public func decode(_ tokens: [Int32], includingSpecial: Bool = false) -> String {
        var bytes: [UInt8] = []
        for token in tokens { bytes.append(contentsOf: self.bytes(of: token, includingSpecial: includingSpecial)) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The control token of this name.
    public func controlToken(named name: String) -> Int32? {
        vocabulary.controls([name]).first
    }

    private func encode(_ text: UnsafeRawBufferPointer, parseSpecial: Bool, into output: inout [Int32]) {
        var merger = BytePairMerger()
        guard parseSpecial || hasUserDefinedTokens else {
            encodePlain(text, &merger, into: &output)
            return
        }
        var start = 0
        var position = 0
        while position < text.count {
            // User-defined tokens are text like any other, only not made by merging.
            let match = special.match(text, at: position) { parseSpecial || vocabulary.kind($0) == .userDefined }
            guard let match else {
                position += 1
                continue
            }
            encodePlain(UnsafeRawBufferPointer(rebasing: text[start..<position]), &merger, into: &output)
            output.append(match.token)
            position = match.end
            start = position
        }
        encodePlain(UnsafeRawBufferPointer(rebasing: text[start...]), &merger, into: &output)
    }

    private func encodePlain(
        _ text: UnsafeRawBufferPointer, _ merger: inout BytePairMerger, into output: inout [Int32]
    ) {
        preTokenizer.forEachWord(text) { range in
            let word = UnsafeRawBufferPointer(rebasing: text[range])
            if prefersWholeWords, let token = vocabulary.find(word) {
                output.append(token)
            } else {
                merger.merge(word, byteTokens: byteTokens, merges: merges, into: &output)
            }
        }
    }
}
