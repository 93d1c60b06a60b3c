import Foundation
import Testing

/// Prompts, the tokens a reference implementation generated for them, and what is kept of its logits at every position.
///
/// The format, and what each field means, is in Tests/Reference/logits_fixture.py.
struct GoldenFixture {
    struct Header: Decodable {
        struct Prompt: Decodable {
            let name: String
            let prompt: [Int32]
            let output: [Int32]
        }
        let steps: Int
        let top: Int
        let vocabulary: Int
        let sample: [Int32]
        let prompts: [Prompt]
    }

    /// The reference's logits of one position.
    struct Position {
        /// Ids of the largest logits, largest first, and those logits.
        let topIDs: [Int32]
        let topLogits: [Float]
        /// Mean over the whole vocabulary.
        let mean: Float
        /// Logits of the ids in ``Header/sample``.
        let sample: [Float]

        /// How far the second-best token was behind.
        var gap: Float { topLogits[0] - topLogits[1] }
    }

    let header: Header
    private let records: Data
    private var recordSize: Int { 4 * (2 * header.top + 1 + header.sample.count) }

    /// Reads a fixture beside these tests.
    init(_ name: String) throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let data = try Data(contentsOf: folder.appending(path: "Fixtures/\(name)"))
        try #require(data.count > 12 && data.prefix(8) == Data("SWLOGIT1".utf8))
        let length = data.dropFirst(8).prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        header = try JSONDecoder().decode(Header.self, from: data.dropFirst(12).prefix(length))
        records = Data(data.dropFirst(12 + length))
        try #require(records.count == header.prompts.count * header.steps * recordSize)
        try #require(header.prompts.allSatisfy { $0.output.count == header.steps && !$0.prompt.isEmpty })
    }

    var positionCount: Int { header.prompts.count * header.steps }

    /// The logits that gave `prompts[prompt].output[step]`.
    func position(prompt: Int, step: Int) -> Position {
        let first = (prompt * header.steps + step) * recordSize, top = header.top
        return records.withUnsafeBytes { bytes in
            func word(_ index: Int) -> UInt32 {
                UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: first + 4 * index, as: UInt32.self))
            }
            return Position(
                topIDs: (0..<top).map { Int32(bitPattern: word($0)) },
                topLogits: (top..<2 * top).map { Float(bitPattern: word($0)) },
                mean: Float(bitPattern: word(2 * top)),
                sample: (0..<header.sample.count).map { Float(bitPattern: word(2 * top + 1 + $0)) })
        }
    }
}
