import Foundation
import Testing

@testable import ModelFile

/// Lines of the fixture: a text, and the ids that llama.cpp gives for it with the default model, control tokens not
/// parsed and none added. Its maker is in Tests/Reference.
private struct FixtureLine: Decodable {
    let text: String
    let ids: [Int32]
}

@Suite("The default model's tokenizer", .enabled(if: DefaultModel.isPresent, Comment(rawValue: DefaultModel.missing)))
struct TokenizerFixtureTests {
    static let fixture = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "Fixtures/tokenizer-smollm2.jsonl")

    func tokenizer() throws -> Tokenizer {
        try Tokenizer(file: GGUFFile(path: #require(DefaultModel.path)))
    }

    @Test("gives llama.cpp's ids for every line of the fixture, and the texts come back")
    func fixture() throws {
        let tokenizer = try tokenizer()
        let lines = try String(contentsOf: Self.fixture, encoding: .utf8).split(separator: "\n")
        #expect(lines.count >= 500)
        for line in lines {
            let expected = try JSONDecoder().decode(FixtureLine.self, from: Data(line.utf8))
            let ids = tokenizer.encode(expected.text, parseSpecial: false)
            #expect(ids == expected.ids, "\(expected.text.debugDescription)")
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
