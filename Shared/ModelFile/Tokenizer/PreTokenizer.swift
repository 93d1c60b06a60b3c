/// Splits text into the words that merging works on. Works on Unicode scalars: a Character may hold several (CR LF is
/// one), and the patterns know none.
struct PreTokenizer: Equatable {
    /// Each splits the pieces that the one before it left.
    let patterns: [SplitPattern]

    /// Calls `body` with the byte range of each word of `text` (valid UTF-8), in order; together they are all of it. Ends
    /// early when `body` returns false.
    func forEachWord(_ text: UnsafeRawBufferPointer, while body: (Range<Int>) -> Bool) {
        guard !text.isEmpty else { return }
        _ = split(text, 0..<text.count, by: 0, body)
    }

    /// - Returns: whether all words were wanted.
    private func split(
        _ text: UnsafeRawBufferPointer, _ piece: Range<Int>, by index: Int, _ body: (Range<Int>) -> Bool
    ) -> Bool {
        guard index < patterns.count else { return body(piece) }
        let pattern = patterns[index]
        // The end of a piece is the end of the text for the pattern's lookahead.
        let scalars = ClassifiedText(bytes: text, end: piece.upperBound)
        var gap = piece.lowerBound
        var position = gap
        while position < piece.upperBound {
            guard let end = pattern.match(scalars, position) else {
                position += scalars[position].length
                continue
            }
            if gap < position, !split(text, gap..<position, by: index + 1, body) { return false }
            guard split(text, position..<end, by: index + 1, body) else { return false }
            position = end
            gap = end
        }
        return gap == position || split(text, gap..<position, by: index + 1, body)
    }
}

extension PreTokenizer {
    /// By its name in `tokenizer.ggml.pre` of a GGUF file. Of names, those that stand for one of these patterns.
    init?(name: String) {
        switch name {
        case "gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion",
            "granite-docling", "exaone4":
            patterns = [.gpt2]
        case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2":
            patterns = [.numbers(limit: 1), .gpt2]
        case "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "dbrx",
            "smaug-bpe",
            "glm4", "chatglm-bpe":
            patterns = [.words(WordPattern())]
        case "minicpm5": patterns = [.numbers(limit: 3), .words(WordPattern(digits: .max))]
        case "qwen2", "stablelm2", "deepseek-r1-qwen", "kormo", "megrez", "hunyuan", "solar-open", "grok-2", "f2llmv2",
            "bailingmoe", "bailingmoe2", "llada-moe":
            patterns = [.words(WordPattern(digits: 1))]
        case "ufakzeka": patterns = [.words(WordPattern(contractions: .none, digits: 1))]
        case "seed-coder": patterns = [.words(WordPattern(digits: 1, takesNewlines: false))]
        case "bloom", "poro-chat", "gpt3-finnish": patterns = [.unpunctuated]
        case "viking": patterns = [.unpunctuated, .numbers(limit: 1)]
        case "superbpe": patterns = [.numbers(limit: .max), .digitGroups]
        case "deepseek-llm":
            patterns = [
                .newline, .rangesAfterSpace(CharacterRanges.deepseekLetters),
                .rangesAfterSpace(CharacterRanges.deepseekPunctuation), .whitespaceAtEnd,
                .ranges([0x0800...0x9FA5, 0xAC00...0xD7FF]), .numbers(limit: .max),
            ]
        case "qwen35": patterns = [.words(WordPattern(letters: .withMarks, digits: 1))]
        case "tekken":
            patterns = [.words(WordPattern(letters: .cased, contractions: .none, digits: 1, takesSlashes: true))]
        case "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2":
            patterns = [.words(WordPattern(letters: .cased, contractions: .trailing, takesSlashes: true))]
        case "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4":
            patterns = [.numbers(limit: 3), .ranges([0x3040...0x30FF, 0x4E00...0x9FA5]), .deepseek3]
        case "deepseek-coder":
            patterns = [
                .newline, .letters, .punctuationAfterSpace, .ranges([0x0800...0x9FA5, 0xAC00...0xD7FF]),
                .numbers(limit: 1),
            ]
        case "falcon": patterns = [.punctuation(withBacktick: true), .gpt2, .digitTriples]
        case "default":
            patterns = [.punctuation(withBacktick: false), .gpt2, .numbers(limit: .max), .digitTriples]
        default: return nil
        }
    }

    /// Whether a word that is a token is taken whole, before any merge: Llama 3's vocabulary has tokens that no merges
    /// lead to. By the name of the pre-tokenizer, as GGUF has no field for it.
    static func takesWholeWords(name: String) -> Bool {
        [
            "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken",
            "minicpm5",
        ]
        .contains(name)
    }

    /// Whether a text begins with the model's begin token where the file does not say.
    static func beginsWithBOS(name: String) -> Bool {
        name != "minicpm5" && takesWholeWords(name: name)
    }
}
