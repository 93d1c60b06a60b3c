/// Text to token ids and back, with the vocabulary of a model: byte-level BPE, SentencePiece's BPE, from a GGUF file or
/// from the tokenizer.json of a Hugging Face folder. Gives the ids that llama.cpp gives for the one, and those of the
/// `tokenizers` library for the other.
public final class Tokenizer: Sendable {
    public let vocabularySize: Int
    /// Bytes of text that one token stands for, at most.
    public let longestToken: Int
    /// The token a text begins with, where the model has one.
    public let bos: Int32?
    public let eos: Int32?
    /// Every token that ends the model's turn: end of text, of turn, of message.
    public let stopTokens: Set<Int32>
    /// Whether `encode(addSpecial: true)` begins with `bos`.
    public let addBOS: Bool
    /// Whether `encode(addSpecial: true)` ends with `eos`.
    public let addEOS: Bool
    /// Whether a text begins with a space that encoding put there, so that decoding takes it away.
    public let dropsLeadingSpace: Bool
    /// What the file left open or said wrongly, and what was taken instead: for logs.
    public let notes: [String]

    let vocabulary: Vocabulary
    let model: TokenModel
    private let normalizer: TextNormalizer
    private let preparation: TextNormalizer
    /// Special tokens that are matched in the text as it is, and in the normalized text.
    private let special: SpecialTokens
    private let specialAfterNormalizing: SpecialTokens?
    private let hasUserDefinedTokens: Bool
    private let leastTokens: LeastTokens

    /// Whether text is put into canonical composition, which makes it shorter.
    var composes: Bool { normalizer.composes || preparation.composes }
    /// Whether some token takes the whitespace beside it.
    var takesWhitespace: Bool { special.takeWhitespace || specialAfterNormalizing?.takeWhitespace == true }

    init(_ parts: TokenizerParts) throws(ModelFileError) {
        let vocabulary = parts.vocabulary
        vocabularySize = vocabulary.count
        bos = parts.bos
        eos = parts.eos
        stopTokens = vocabulary.namedEnds.union(parts.stopTokens + [parts.eos].compactMap { $0 })
        notes = parts.notes
        addBOS = parts.addBOS && parts.bos != nil
        addEOS = parts.addEOS && parts.eos != nil
        dropsLeadingSpace = parts.dropsLeadingSpace
        model = parts.model
        normalizer = parts.normalizer
        preparation = parts.preparation
        let names = vocabulary.specials.map { (token: $0, bytes: vocabulary.bytes($0)) }
        longestToken = names.reduce(vocabulary.longest) { max($0, $1.bytes.count) }
        special = try SpecialTokens(
            names.filter { !parts.matchedAfterNormalizing.contains($0.token) }, strips: parts.strips, field: parts.field
        )
        let late = names.filter { parts.matchedAfterNormalizing.contains($0.token) }.map { name in
            (
                name.token,
                name.bytes.withUnsafeBytes { parts.normalizer.normalize($0, isStart: true) }?[...] ?? name.bytes
            )
        }
        specialAfterNormalizing =
            late.isEmpty ? nil : try SpecialTokens(late, strips: parts.strips, field: parts.field)
        hasUserDefinedTokens = vocabulary.contains(.userDefined)
        self.vocabulary = vocabulary
        leastTokens = LeastTokens(vocabulary, parts.model)
    }

    /// A stretch of a text, and whether the names of control tokens in it are those tokens.
    public struct Part: Sendable, Equatable {
        public var text: String
        public var parseSpecial: Bool

        public init(_ text: String, parseSpecial: Bool) {
            self.text = text
            self.parseSpecial = parseSpecial
        }
    }

    /// The ids of `text`. The time grows as n log n with the length of the text, whatever it holds.
    ///
    /// - Parameters:
    ///   - parseSpecial: Whether the name of a control token inside `text` becomes that token. Never true for a text
    ///     that comes from a user.
    ///   - addSpecial: Whether the model's begin and end tokens are put around the text, where its file asks for them.
    public func encode(_ text: String, parseSpecial: Bool, addSpecial: Bool = false) -> [Int32] {
        encode([Part(text, parseSpecial: parseSpecial)], addSpecial: addSpecial)
    }

    /// The ids of the parts as one text: tokens cross the borders between them as if they were not there, but the name
    /// of a control token counts only where all of it stands in one part that allows it.
    public func encode(_ parts: [Part], addSpecial: Bool = false) -> [Int32] {
        var sections = EncodedSections(limit: .max, keeps: false)
        return encode(parts, addSpecial: addSpecial, &sections)
    }

    /// The same ids, without the work that was done before. Where there are more than the limit of `sections`, only their
    /// number says so: it is greater than the limit, and the ids are no text's.
    public func encode(_ parts: [Part], addSpecial: Bool = false, _ sections: inout EncodedSections) -> [Int32] {
        var output: [Int32] = []
        if addSpecial, addBOS, let bos { output.append(bos) }
        if parts.count == 1, var text = parts.first?.text {
            let parses = parts.allSatisfy(\.parseSpecial)
            text.withUTF8 { bytes in
                encode(
                    UnsafeRawBufferPointer(bytes), parsing: parses ? [0..<bytes.count] : [], &sections, into: &output)
            }
        } else {
            var bytes: [UInt8] = []
            var parsed: [Range<Int>] = []
            for part in parts {
                let start = bytes.count
                bytes.append(contentsOf: part.text.utf8)
                if part.parseSpecial { parsed.append(start..<bytes.count) }
            }
            bytes.withUnsafeBytes { encode($0, parsing: parsed, &sections, into: &output) }
        }
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

    /// Whether the file says that no text has the token, or gives it none.
    public func isUnused(_ token: Int32) -> Bool {
        guard token >= 0, token < vocabularySize else { return true }
        return vocabulary.kind(token) == .unused || vocabulary.bytes(token).isEmpty
    }

    /// The text of the tokens together, without the space that encoding put before it; bytes that are no UTF-8 become
    /// U+FFFD. For a text that comes token by token, use `TextAssembler`.
    public func decode(_ tokens: [Int32], includingSpecial: Bool = false) -> String {
        var bytes: [UInt8] = []
        for token in tokens { bytes.append(contentsOf: self.bytes(of: token, includingSpecial: includingSpecial)) }
        let text = dropsLeadingSpace && bytes.first == 0x20 ? bytes.dropFirst() : bytes[...]
        return String(decoding: text, as: UTF8.self)
    }

    /// The control token of this name.
    public func controlToken(named name: String) -> Int32? {
        vocabulary.controls([name]).first
    }

    /// - Parameter parsing: where control tokens are recognised, in order.
    private func encode(
        _ text: UnsafeRawBufferPointer, parsing: [Range<Int>], _ sections: inout EncodedSections,
        into output: inout [Int32]
    ) {
        var merger = SymbolMerger()
        guard hasUserDefinedTokens || !parsing.isEmpty else {
            sections.append(text, isStart: true, parses: false, to: &output) { limit, output in
                encodeSection(text, isStart: true, parses: false, &merger, limit, into: &output)
            }
            return
        }
        var forMatches = OrderedRanges(parsing)
        var forSections = OrderedRanges(parsing)
        var isStart = true
        special.forEachSection(text) { token, range in
            vocabulary.kind(token) == .userDefined || forMatches.hold(range)
        } _: { section in
            switch section {
            case .token(let token): output.append(token)
            case .text(let range):
                let (section, parses) = (UnsafeRawBufferPointer(rebasing: text[range]), forSections.hold(range))
                sections.append(section, isStart: isStart, parses: parses, to: &output) { limit, output in
                    encodeSection(section, isStart: isStart, parses: parses, &merger, limit, into: &output)
                }
            }
            isStart = false
        }
    }

    /// - Parameter parses: Whether control tokens that are matched in the normalized text are recognised.
    private func encodeSection(
        _ text: UnsafeRawBufferPointer, isStart: Bool, parses: Bool, _ merger: inout SymbolMerger, _ limit: Int,
        into output: inout [Int32]
    ) {
        guard let normalized = normalizer.normalize(text, isStart: isStart) else {
            encodeNormalized(text, isStart: isStart, parses: parses, &merger, limit, into: &output)
            return
        }
        normalized.withUnsafeBytes {
            encodeNormalized($0, isStart: isStart, parses: parses, &merger, limit, into: &output)
        }
    }

    private func encodeNormalized(
        _ text: UnsafeRawBufferPointer, isStart: Bool, parses: Bool, _ merger: inout SymbolMerger, _ limit: Int,
        into output: inout [Int32]
    ) {
        guard let specialAfterNormalizing else {
            encodePrepared(text, isStart: isStart, &merger, limit, into: &output)
            return
        }
        var isStart = isStart
        specialAfterNormalizing.forEachSection(text) { token, _ in
            parses || vocabulary.kind(token) == .userDefined
        } _: { section in
            switch section {
            case .token(let token): output.append(token)
            case .text(let range):
                let piece = UnsafeRawBufferPointer(rebasing: text[range])
                encodePrepared(piece, isStart: isStart, &merger, limit, into: &output)
            }
            isStart = false
        }
    }

    private func encodePrepared(
        _ text: UnsafeRawBufferPointer, isStart: Bool, _ merger: inout SymbolMerger, _ limit: Int,
        into output: inout [Int32]
    ) {
        guard let prepared = preparation.normalize(text, isStart: isStart) else {
            encodeFinally(text, &merger, limit, into: &output)
            return
        }
        prepared.withUnsafeBytes { encodeFinally($0, &merger, limit, into: &output) }
    }

    private func encodeFinally(
        _ text: UnsafeRawBufferPointer, _ merger: inout SymbolMerger, _ limit: Int, into output: inout [Int32]
    ) {
        if leastTokens.reach(limit - output.count, in: text) {
            output.append(contentsOf: repeatElement(0, count: max(limit - output.count, 0)))
        } else {
            model.encode(text, vocabulary, &merger, limit: limit, into: &output)
        }
    }
}

/// Ranges that do not overlap, in order, asked about places that come in order too.
private struct OrderedRanges {
    private let ranges: [Range<Int>]
    private var current = 0

    init(_ ranges: [Range<Int>]) { self.ranges = ranges }

    /// Whether one of them holds all of `range`.
    mutating func hold(_ range: Range<Int>) -> Bool {
        while current < ranges.count, ranges[current].upperBound <= range.lowerBound { current += 1 }
        return current < ranges.count && ranges[current].lowerBound <= range.lowerBound
            && range.upperBound <= ranges[current].upperBound
    }
}
