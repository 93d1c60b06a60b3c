/// The steps of a tokenizer.json around its model: `normalizer`, `pre_tokenizer` and `decoder`, as far as they are of
/// the kinds that language models use.
struct TokenizerPipeline {
    private(set) var spelling = Vocabulary.Spelling.piece
    /// Before special tokens are looked for in the normalized text, and after.
    private(set) var normalizer = TextNormalizer()
    private(set) var preparation = TextNormalizer()
    /// How words are split, for byte-level models.
    private(set) var patterns: [SplitPattern] = []
    private(set) var splitsAtSpaces = false
    private(set) var dropsLeadingSpace = false

    /// Each pattern of a list splits what the one before it left; real lists have up to six.
    private static var stepLimit: Int { 16 }

    init(_ root: JSONValue) throws(ModelFileError) {
        for step in try Self.steps(root["normalizer"], "normalizers") { try addNormalizer(step) }
        let steps = try Self.steps(root["pre_tokenizer"], "pretokenizers")
        for step in steps { try addPreTokenizer(step) }
        for step in try Self.steps(root["decoder"], "decoders") { try addDecoder(step) }
        if spelling == .piece {
            guard normalizer.unescapesSpaces || preparation.unescapesSpaces else {
                throw (root["pre_tokenizer"] ?? root).refusal(
                    "neither byte-level nor with spaces written as U+2581: not supported")
            }
            if let step = steps.first, !patterns.isEmpty {
                throw step.refusal("splits without ByteLevel: not supported")
            }
        } else if normalizer.unescapesSpaces || preparation.unescapesSpaces {
            throw root.refusal("both byte-level and with spaces written as U+2581: not supported")
        }
    }

    /// The steps of a sequence, or the one step that it is. Sequences in sequences are read in order.
    private static func steps(_ value: JSONValue?, _ list: String) throws(ModelFileError) -> [JSONValue] {
        guard let value else { return [] }
        guard try value.required("type").string() == "Sequence" else { return [value] }
        var all: [JSONValue] = []
        for step in try value.required(list).elements() { all += try steps(step, list) }
        guard all.count <= stepLimit else { throw value.refusal("\(all.count) steps are more than \(stepLimit)") }
        return all
    }

    private mutating func addNormalizer(_ step: JSONValue) throws(ModelFileError) {
        switch try step.required("type").string() {
        case "NFC": normalizer.composes = true
        case "Prepend":
            guard try step.required("prepend").string() == "▁" else {
                throw step.refusal("a Prepend of something else than U+2581 is not supported")
            }
            normalizer.prefix = .always
        case "Replace":
            let pattern = try step.required("pattern")["String"]?.string()
            guard pattern == " ", try step.required("content").string() == "▁" else {
                throw step.refusal("a Replace of something else than a space by U+2581 is not supported")
            }
            normalizer.unescapesSpaces = true
        case let type: throw step.refusal("the normalizer '\(type)' is not supported")
        }
    }

    private mutating func addPreTokenizer(_ step: JSONValue) throws(ModelFileError) {
        let type = try step.required("type").string()
        guard spelling != .byteAlphabet else { throw step.refusal("'\(type)' after ByteLevel is not supported") }
        switch type {
        case "ByteLevel":
            spelling = .byteAlphabet
            if let flag = step["add_prefix_space"], try flag.bool() {
                guard patterns.isEmpty else { throw flag.refusal("a space before every piece is not supported") }
                preparation.prefix = .unlessSpace
            }
            if try step["use_regex"]?.bool() ?? true { patterns.append(.gpt2) }
        case "Digits":
            patterns.append(.numbers(limit: try step.required("individual_digits").bool() ? 1 : .max))
        case "Split": try addSplit(step)
        case "Metaspace":
            guard try step.required("replacement").string() == "▁" else {
                throw step.refusal("a Metaspace with another replacement than U+2581 is not supported")
            }
            preparation.unescapesSpaces = true
            splitsAtSpaces = try step["split"]?.bool() ?? true
            switch try Self.prependScheme(step) {
            case "always": preparation.prefix = .unlessSpace
            case "first": preparation.prefix = .unlessSpaceAtStart
            case "never": break
            case let scheme: throw step.refusal("the prepend_scheme '\(scheme)' is not supported")
            }
        default: throw step.refusal("the pre-tokenizer '\(type)' is not supported")
        }
    }

    /// Files of before 2023 have `add_prefix_space` instead.
    private static func prependScheme(_ step: JSONValue) throws(ModelFileError) -> String {
        if let scheme = step["prepend_scheme"] { return try scheme.string() }
        return try step["add_prefix_space"]?.bool() ?? true ? "always" : "never"
    }

    private mutating func addSplit(_ step: JSONValue) throws(ModelFileError) {
        let pattern = try step.required("pattern")
        let behavior = try step.required("behavior").string()
        let isInverted = try step["invert"]?.bool() ?? false
        // Spaces are gone when they were replaced: Gemma's files have this step, and it does nothing.
        if try pattern["String"]?.string() == " ", normalizer.unescapesSpaces { return }
        guard let regex = pattern["Regex"] else { throw pattern.refusal("a Split by a string is not supported") }
        let text = try regex.string()
        guard let split = SplitPattern(regex: text) else {
            throw regex.refusal("the pattern \(text.prefix(200)) is not supported")
        }
        // Where the matches are all of the text, to keep them and to remove what is between them is the same.
        guard behavior == "Isolated" && !isInverted || behavior == "Removed" && isInverted && split.coversAll else {
            throw step.refusal("the behavior '\(behavior)'\(isInverted ? ", inverted," : "") is not supported")
        }
        patterns.append(split)
    }

    private mutating func addDecoder(_ step: JSONValue) throws(ModelFileError) {
        switch try step.required("type").string() {
        case "Metaspace": dropsLeadingSpace = try Self.prependScheme(step) != "never"
        case "Strip":
            if try step.required("content").string() == " ", try step.required("start").int(in: 0...1) == 1 {
                dropsLeadingSpace = true
            }
        default: break
        }
    }
}
