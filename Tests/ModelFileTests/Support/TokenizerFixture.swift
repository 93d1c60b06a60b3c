import Foundation

/// A line of a tokenizer fixture: a text, and the ids that llama.cpp gives for it. Their maker is in Tests/Reference.
struct TokenizerFixtureLine: Decodable {
    let text: String
    let ids: [Int32]
}

enum TokenizerFixture {
    static func path(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(
            path: "Fixtures/\(name)"
        ).path
    }

    static func lines(_ name: String) throws -> [TokenizerFixtureLine] {
        let text = try String(contentsOfFile: path(name), encoding: .utf8)
        return try text.split(separator: "\n").map {
            try JSONDecoder().decode(TokenizerFixtureLine.self, from: Data($0.utf8))
        }
    }
}
