import Foundation
import Testing

@testable import ModelFile

/// Texts with the ids that llama.cpp gives for them, none added around them. Their maker is in Tests/Reference.
private struct Fixture {
    struct Line: Decodable {
        let text: String
        let ids: [Int32]
    }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")

    let lines: [Line]

    init(_ name: String) throws {
        let text = try String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
        lines = try text.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }
}

@Suite("The default model's tokenizer", .enabled(if: DefaultModel.isPresent, Comment(rawValue: DefaultModel.missing)))
struct TokenizerFixtureTests {
    func tokenizer() throws -> Tokenizer {
        try Tokenizer(file: GGUFFile(path: #require(DefaultModel.path)))
    }

    @Test("gives llama.cpp's ids for every line of plain text")
    func plainText() throws {
        let tokenizer = try tokenizer()
        let lines = try Fixture("tokenizer-smollm2.jsonl").lines
        #expect(lines.count >= 500)
        for line in lines {
            #expect(tokenizer.encode(line.text, parseSpecial: false) == line.ids, "\(line.text.debugDescription)")
        }
    }

    @Test("gives llama.cpp's ids where names of control tokens are parsed")
    func specialNames() throws {
        let tokenizer = try tokenizer()
        let lines = try Fixture("tokenizer-smollm2-special.jsonl").lines
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
        #expect(tokenizer.stopTokens == [0, 2, 4])
        #expect(!tokenizer.addBOS)
        #expect(tokenizer.encode("<|im_start|>", parseSpecial: true) == [1])
        #expect(tokenizer.encode("<|im_start|>", parseSpecial: false).allSatisfy { $0 > 16 })
    }
}

@Suite("A vocabulary with the llama-bpe pre-tokenizer")
struct LlamaVocabularyTests {
    @Test("gives llama.cpp's ids for every line, and every text comes back")
    func plainText() throws {
        let path = Fixture.folder.appending(path: "llama-bpe.vocabulary").path
        let tokenizer = try Tokenizer(file: GGUFFile(path: path))
        let lines = try Fixture("tokenizer-llama-bpe.jsonl").lines
        #expect(lines.count >= 500)
        for line in lines {
            let ids = tokenizer.encode(line.text, parseSpecial: false)
            #expect(ids == line.ids, "\(line.text.debugDescription)")
            #expect(tokenizer.decode(ids).utf8.elementsEqual(line.text.utf8), "\(line.text.debugDescription)")
        }
    }
}
