import Foundation
import Testing

@testable import ModelFile

@Suite("The default model's tokenizer", .enabled(if: DefaultModel.isPresent, Comment(rawValue: DefaultModel.missing)))
struct TokenizerFixtureTests {
    func tokenizer() throws -> Tokenizer {
        try Tokenizer(file: GGUFFile(path: #require(DefaultModel.path)))
    }

    @Test("gives llama.cpp's ids for every line of the fixture, and the texts come back")
    func fixture() throws {
        let tokenizer = try tokenizer()
        let lines = try TokenizerFixture.lines("tokenizer-smollm2.jsonl")
        #expect(lines.count >= 500)
        for line in lines {
            let ids = tokenizer.encode(line.text, parseSpecial: false)
            #expect(ids == line.ids, "\(line.text.debugDescription)")
            // The vocabulary lacks a few bytes, which are dropped as llama.cpp drops them; of those the fixture has this one.
            let kept = line.text.utf8.filter { $0 != 0x1D }
            #expect(Array(tokenizer.decode(ids).utf8) == kept, "\(line.text.debugDescription)")
        }
    }

    @Test("gives llama.cpp's ids where special tokens are meant as such")
    func specialFixture() throws {
        let tokenizer = try tokenizer()
        let lines = try TokenizerFixture.lines("tokenizer-smollm2-special.jsonl")
        #expect(lines.count >= 100)
        for line in lines {
            #expect(tokenizer.encode(line.text, parseSpecial: true) == line.ids, "\(line.text.debugDescription)")
        }
    }

    @Test("knows its special tokens")
    func specialTokens() throws {
        let tokenizer = try tokenizer()
        #expect(tokenizer.vocabularySize == 49152)
        #expect(tokenizer.bos == 1)
        #expect(tokenizer.eos == 2)
        #expect(tokenizer.stopTokens == [0, 2])
        #expect(!tokenizer.addBOS)
        #expect(tokenizer.encode("<|im_start|>", parseSpecial: true) == [1])
        #expect(tokenizer.encode("<|im_start|>", parseSpecial: false).allSatisfy { $0 > 16 })
    }
}

/// The llama-bpe pre-tokenizer, on a small vocabulary that Tests/Reference makes: no model is needed.
@Suite("A llama-bpe tokenizer") struct LlamaBPEFixtureTests {
    @Test("gives llama.cpp's ids for every line of the fixture")
    func fixture() throws {
        let tokenizer = try Tokenizer(file: GGUFFile(path: TokenizerFixture.path("llama-bpe.vocabulary")))
        let lines = try TokenizerFixture.lines("tokenizer-llama-bpe.jsonl")
        #expect(lines.count >= 500)
        for line in lines {
            let ids = tokenizer.encode(line.text, parseSpecial: false)
            #expect(ids == line.ids, "\(line.text.debugDescription)")
            #expect(Array(tokenizer.decode(ids).utf8) == Array(line.text.utf8), "\(line.text.debugDescription)")
        }
    }
}
