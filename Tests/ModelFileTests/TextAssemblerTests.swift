import SeededRandom
import Testing

@testable import ModelFile

@Suite("Text of tokens that come one by one")
struct TextAssemblerTests {
    /// Made once: making one reads a vocabulary.
    private static let tokenizer = Result { try SmallVocabulary.tokenizer() }

    /// All texts in order, the last one from `finish`.
    func run(_ pieces: [[UInt8]], stop: [String] = []) throws -> (texts: [String], stopped: Bool) {
        var assembler = try TextAssembler(tokenizer: Self.tokenizer.get(), stop: stop)
        var texts = pieces.map { assembler.append(bytes: $0) }
        texts.append(assembler.finish())
        return (texts, assembler.stopped)
    }

    @Test("a scalar that tokens cut waits for its rest")
    func cutScalar() throws {
        let emoji = Array("🙂".utf8)
        #expect(
            try run([[0x61], [emoji[0]], [emoji[1], emoji[2]], [emoji[3], 0x62]]).texts == ["a", "", "", "🙂b", ""])
        #expect(try run([Array("né".utf8.dropLast()), [0xA9, 0xC3]]).texts == ["n", "é", "\u{FFFD}"])
    }

    @Test("bytes that can be no scalar are replaced as soon as that is known")
    func invalidBytes() throws {
        #expect(try run([[0xE2], [0x82], [0x41]]).texts == ["", "", "\u{FFFD}A", ""])
        #expect(try run([[0xC3], [0xC3], [0xA9]]).texts == ["", "\u{FFFD}", "é", ""])
        #expect(try run([[0xFF, 0x80], [0xE0, 0x80]]).texts == ["\u{FFFD}\u{FFFD}", "\u{FFFD}\u{FFFD}", ""])
        #expect(try run([[0xF4, 0x90]]).texts == ["\u{FFFD}\u{FFFD}", ""])
        #expect(try run([[0xED, 0xA0]]).texts == ["\u{FFFD}\u{FFFD}", ""])
    }

    @Test("a stop string is found over the borders of tokens, and nothing of it or after it is returned")
    func stopString() throws {
        func bytes(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }
        var result = try run(bytes("ab", "c<", "/e", "nd>x", "y"), stop: ["</end>"])
        #expect(result.texts == ["ab", "c", "", "", "", ""])
        #expect(result.stopped)
        result = try run(bytes("ab<", "/en", "x"), stop: ["</end>"])
        #expect(result.texts == ["ab", "", "</enx", ""])
        #expect(!result.stopped)
        result = try run(bytes("tail</e"), stop: ["</end>"])
        #expect(result.texts == ["tail", "</e"])
        #expect(try run(bytes("aab"), stop: ["ab"]).texts == ["a", ""])
        #expect(try run(bytes("aa", "ab"), stop: ["aab"]).texts == ["", "a", ""])
        #expect(try run(bytes("xaba", "bc"), stop: ["ababc"]).texts == ["x", "", ""])
        #expect(try run(bytes("日本", "語"), stop: ["本語"]).texts == ["日", "", ""])
        #expect(try run(bytes("abc"), stop: ["", "zz"]).texts == ["abc", ""])
    }

    @Test("the stop string that ends first counts, of those that end together the longest")
    func severalStopStrings() throws {
        #expect(try run([Array("xabcd".utf8)], stop: ["abcd", "bc"]).texts == ["xa", ""])
        #expect(try run([Array("xabc".utf8)], stop: ["bc", "abc"]).texts == ["x", ""])
    }

    @Test("the text depends on the bytes only, not on how they are cut")
    func cutsDoNotMatter() throws {
        var random = SeededGenerator(seed: 21)
        for _ in 0..<400 {
            let stop = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                random.text(length: Int.random(in: 1...3, using: &random))
            }
            var all = Array(random.text(length: Int.random(in: 0..<30, using: &random)).utf8)
            if Bool.random(using: &random) { all += stop.first.map { Array($0.utf8) } ?? [] }
            for index in all.indices where Int.random(in: 0..<20, using: &random) == 0 {
                all[index] = UInt8.random(in: 0...255, using: &random)
            }
            let whole = try run([all], stop: stop)
            var pieces: [[UInt8]] = []
            var rest = all[...]
            while !rest.isEmpty {
                let count = Int.random(in: 1...3, using: &random)
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            let cut = try run(pieces, stop: stop)
            #expect(cut.texts.joined().utf8.elementsEqual(whole.texts.joined().utf8))
            #expect(cut.stopped == whole.stopped)
            if stop.isEmpty {
                #expect(cut.texts.joined().utf8.elementsEqual(String(decoding: all, as: UTF8.self).utf8))
            }
        }
    }

    @Test("control tokens have no text, and after the end nothing comes")
    func controlTokens() throws {
        let tokenizer = try Self.tokenizer.get()
        var assembler = TextAssembler(tokenizer: tokenizer, stop: ["b"])
        var text = ""
        for token in tokenizer.encode("a<|im_end|>b", parseSpecial: true) { text += assembler.append(token) }
        #expect(text == "a")
        #expect(assembler.stopped)
        #expect(assembler.append(3).isEmpty)
        #expect(assembler.finish().isEmpty)
    }
}
