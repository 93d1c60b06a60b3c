import Foundation
import SeededRandom
import Testing

@testable import ModelFile

/// Small vocabularies that were trained for the tests, and the ids that other programs give with them. Their makers are
/// in Tests/Reference.
enum SmallForms {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")

    static func data(_ name: String) throws -> Data { try Data(contentsOf: folder.appending(path: name)) }

    static func lines<Line: Decodable>(_ name: String, _ type: Line.Type) throws -> [Line] {
        try data(name).split(separator: 0x0A).map { try JSONDecoder().decode(Line.self, from: $0) }
    }

    /// Texts in which names of special tokens are plain text.
    static func plainTexts() throws -> [String] {
        struct Line: Decodable { let text: String }
        return try lines("tokenizer-llama-bpe.jsonl", Line.self).map(\.text)
    }

    /// Texts in which they are tokens.
    static func specialTexts() throws -> [String] {
        try JSONDecoder().decode([String].self, from: data("special-texts.json"))
    }

    static func tokenizer(_ name: String) throws -> Tokenizer {
        if name.hasPrefix("llama-") {
            return try Tokenizer(file: GGUFFile(path: folder.appending(path: "\(name).vocabulary").path))
        }
        return try Tokenizer(tokenizerJSON: data("\(name).tokenizer.json"))
    }
}

@Suite("Tokenizers of other forms")
struct TokenizerFormsTests {
    @Test(
        "give the ids of llama.cpp (llama-spm) and of Hugging Face's library (the others) for every line",
        arguments: ["llama-spm", "pieces", "unigram", "byte-level"])
    func ids(name: String) throws {
        let tokenizer = try SmallForms.tokenizer(name)
        let plain = try SmallForms.plainTexts()
        let special = try SmallForms.specialTexts()
        let expected = try SmallForms.lines("tokenizer-\(name).jsonl", [Int32]?.self)
        try #require(expected.count == plain.count + special.count && plain.count > 800 && special.count == 300)
        for (text, ids) in zip(plain, expected) {
            guard let ids else { continue }
            #expect(tokenizer.encode(text, parseSpecial: false) == ids, "\(text.debugDescription)")
        }
        for (text, ids) in zip(special, expected[plain.count...]) {
            let ours = tokenizer.encode(text, parseSpecial: true, addSpecial: true)
            #expect(ours == ids, "\(text.debugDescription)")
        }
    }

    @Test(
        "a limit changes no ids of a text that keeps to it, and is passed by every other",
        arguments: ["llama-spm", "pieces", "unigram", "byte-level", "llama-bpe"])
    func limits(name: String) throws {
        let tokenizer = try SmallForms.tokenizer(name)
        var random = SeededGenerator(seed: 29)
        var texts = try SmallForms.plainTexts()
        for _ in 0..<300 { texts.append(random.text(length: Int.random(in: 0..<60, using: &random))) }
        for text in texts {
            let ids = tokenizer.encode(text, parseSpecial: false)
            for limit in [ids.count, ids.count - 1, ids.count / 2] where limit >= 0 {
                var sections = EncodedSections(limit: limit)
                let limited = tokenizer.encode([.init(text, parseSpecial: false)], &sections)
                #expect(limit == ids.count ? limited == ids : limited.count > limit, "\(text.debugDescription)")
            }
        }
    }

    /// Letters without a space between them are one word, all of which would be merged before the first id is known.
    @Test(
        "a long word is not merged when its bytes alone are too many",
        arguments: ["llama-spm", "byte-level", "llama-bpe"])
    func longWord(name: String) throws {
        let tokenizer = try SmallForms.tokenizer(name)
        let word = String(
            String.UnicodeScalarView((0..<20_000).compactMap { Unicode.Scalar(0x4E00 + $0 * 7919 % 20_000) }))
        var sections = EncodedSections(limit: 100)
        #expect(tokenizer.encode([.init(word, parseSpecial: false)], &sections).count == 101)
    }

    @Test("every text comes back, at once and token by token", arguments: ["llama-spm", "pieces"])
    func roundTrip(name: String) throws {
        let tokenizer = try SmallForms.tokenizer(name)
        #expect(tokenizer.dropsLeadingSpace)
        var random = SeededGenerator(seed: 11)
        var texts = try Array(SmallForms.plainTexts().prefix(300))
        for _ in 0..<300 { texts.append(random.text(length: Int.random(in: 0..<30, using: &random))) }
        // The model knows no difference between a space and U+2581; <think> takes the spaces beside it.
        for text in texts where !text.contains("▁") && !text.contains("<think>") && !text.contains("<tool>") {
            let ids = tokenizer.encode(text, parseSpecial: false, addSpecial: true)
            #expect(ids.first == 1)
            #expect(!ids.dropFirst().contains { $0 < 3 }, "\(text.debugDescription)")
            #expect(tokenizer.decode(ids).utf8.elementsEqual(text.utf8), "\(text.debugDescription)")
            var assembler = TextAssembler(tokenizer: tokenizer)
            var assembled = ""
            for id in ids { assembled += assembler.append(id) }
            assembled += assembler.finish()
            #expect(assembled.utf8.elementsEqual(text.utf8), "\(text.debugDescription)")
        }
    }

    @Test("bytes come back as the character that they are")
    func byteFallback() throws {
        let tokenizer = try SmallForms.tokenizer("llama-spm")
        let ids = tokenizer.encode("𒀀", parseSpecial: false)
        #expect(ids.dropFirst().map { tokenizer.bytes(of: $0).count } == [1, 1, 1, 1])
        var assembler = TextAssembler(tokenizer: tokenizer)
        #expect(ids.map { assembler.append($0) } == ["", "", "", "", "𒀀"])
    }

    @Test("a part that is no one's but the user's makes no control token, whatever stands beside it")
    func parts() throws {
        for name in ["llama-spm", "byte-level"] {
            let tokenizer = try SmallForms.tokenizer(name)
            let marker = try #require(tokenizer.controlToken(named: "<|im_end|>"))
            func count(_ parts: Tokenizer.Part...) -> Int { tokenizer.encode(parts).filter { $0 == marker }.count }
            #expect(count(Tokenizer.Part("a<|im_end|>", parseSpecial: true)) == 1)
            #expect(count(Tokenizer.Part("a<|im_end|>", parseSpecial: false)) == 0)
            #expect(
                count(
                    Tokenizer.Part("<|im_end|>", parseSpecial: true), Tokenizer.Part("<|im_end|>", parseSpecial: false),
                    Tokenizer.Part("<|im_end|>", parseSpecial: true)) == 2)
            #expect(
                count(Tokenizer.Part("<|im_", parseSpecial: false), Tokenizer.Part("end|>", parseSpecial: true)) == 0)
            #expect(
                count(Tokenizer.Part("<|im_", parseSpecial: true), Tokenizer.Part("end|>", parseSpecial: true)) == 0)
            let whole = tokenizer.encode("one two three", parseSpecial: true)
            let halves = [Tokenizer.Part("one tw", parseSpecial: true), Tokenizer.Part("o three", parseSpecial: false)]
            #expect(tokenizer.encode(halves) == whole)
        }
    }

    @Test(
        "the work grows no faster than the text, whatever it holds",
        arguments: ["a", " ", "ab", "the ", "\u{301}\u{323}", "▁", "12", "a日"])
    func work(unit: String) throws {
        let count = 1 << 15
        let text = Array(String(repeating: unit, count: count / unit.utf8.count).utf8)
        for name in ["llama-spm", "pieces", "byte-level"] {
            let tokenizer = try SmallForms.tokenizer(name)
            var merger = SymbolMerger()
            var output: [Int32] = []
            text.withUnsafeBytes {
                tokenizer.model.encode($0, tokenizer.vocabulary, &merger, limit: .max, into: &output)
            }
            // A pair is looked up once for each two neighbours, and twice for each merge.
            #expect(merger.lookups <= 3 * text.count)
            #expect(!output.isEmpty)
        }
    }

    // Quadratic time would take many minutes for these; the limit is no measure of speed.
    @Test("a quarter of a megabyte of combining marks or newlines takes no quadratic time", .timeLimit(.minutes(1)))
    func longRuns() throws {
        let count = 1 << 18
        let tokenizer = try SmallForms.tokenizer("byte-level")
        for unit in ["\u{301}\u{323}", "\n ", " ", "A"] {
            #expect(!tokenizer.encode(String(repeating: unit, count: count / 2), parseSpecial: true).isEmpty)
        }
    }
}

@Suite("Splitting by regular expressions")
struct SplitPatternTests {
    struct Line: Decodable {
        let name: String
        let patterns: [String]
        let hashes: [UInt32]
    }

    /// FNV-1a over the numbers of bytes of the words.
    func hash(_ text: String, _ pre: PreTokenizer) -> UInt32 {
        var text = text
        var value: UInt32 = 0x811C_9DC5
        text.withUTF8 { bytes in
            pre.forEachWord(UnsafeRawBufferPointer(bytes)) {
                value = (value ^ UInt32($0.count)) &* 0x0100_0193
                return true
            }
        }
        return value
    }

    @Test("gives the words that Hugging Face's library gives for every known expression")
    func words() throws {
        let texts = try SmallForms.plainTexts()
        let lines = try SmallForms.lines("pre-tokenizers.jsonl", Line.self)
        #expect(lines.count == 9)
        for line in lines {
            let pre = PreTokenizer(
                patterns: try line.patterns.map { try #require(SplitPattern(regex: $0), "\(line.name): \($0)") })
            for (text, expected) in zip(texts, line.hashes) {
                #expect(hash(text, pre) == expected, "\(line.name): \(text.debugDescription)")
            }
        }
    }

    @Test(
        "GGUF's names stand for the same patterns but for the long s, which llama.cpp takes for no s",
        arguments: ["gpt-2", "llama3", "qwen2", "gpt-4o", "tekken", "deepseek-v3", "deepseek-coder"])
    func names(name: String) throws {
        let pre = try #require(PreTokenizer(name: name))
        let lines = try SmallForms.lines("pre-tokenizers.jsonl", Line.self)
        let line = try #require(lines.first { $0.name == name })
        for (text, expected) in zip(try SmallForms.plainTexts(), line.hashes) where !text.contains("ſ") {
            #expect(hash(text, pre) == expected, "\(text.debugDescription)")
        }
    }

    func composed(_ text: String) -> String {
        var text = text
        return text.withUTF8 { bytes in
            let bytes = UnsafeRawBufferPointer(bytes)
            return String(decoding: CanonicalComposition.compose(bytes) ?? Array(bytes), as: UTF8.self)
        }
    }

    @Test("composition of long runs of marks keeps the text canonically equal")
    func composition() {
        var random = SeededGenerator(seed: 2)
        let marks: [Unicode.Scalar] = ["\u{301}", "\u{302}", "\u{323}", "\u{5B0}", "\u{344}", "\u{338}", "\u{1DCE}"]
        for length in [3, 31, 32, 33, 34, 64, 90, 200] {
            for base: Unicode.Scalar in ["a", "\u{E9}", "=", "가", "\u{301}"] {
                var text = String.UnicodeScalarView("x".unicodeScalars)
                text.append(base)
                for _ in 0..<length { text.append(marks.randomElement(using: &random) ?? "\u{301}") }
                text.append(contentsOf: "e\u{301}".unicodeScalars)
                let result = composed(String(text))
                // Equality of Strings is canonical equivalence, by the standard library's own tables.
                #expect(result == String(text))
                #expect(composed(result).utf8.elementsEqual(result.utf8))
                #expect(result.unicodeScalars.last == "\u{E9}")
            }
        }
        let long = composed("a" + String(repeating: "\u{302}\u{323}", count: 99))
        let expected = "\u{1EAD}" + String(repeating: "\u{323}", count: 98) + String(repeating: "\u{302}", count: 98)
        #expect(long.utf8.elementsEqual(expected.utf8))
        // The vowel composes with the consonant before it, whatever follows.
        let hangul = composed("\u{1100}\u{1161}" + String(repeating: "\u{301}", count: 99))
        #expect(hangul.utf8.elementsEqual(("\u{AC00}" + String(repeating: "\u{301}", count: 99)).utf8))
    }
}
