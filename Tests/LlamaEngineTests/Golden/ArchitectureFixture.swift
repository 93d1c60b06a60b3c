import Foundation
import LlamaEngine
import ModelFile
import Testing

/// Small models with made weights and what an independent program computed for them: Tests/Reference/make_architecture_fixture.py.
struct ArchitectureFixture: Decodable {
    struct Case: Decodable, CustomTestStringConvertible {
        let name: String
        let type: String
        /// By the tensor's name, rows first.
        let tensors: [String: [Int]]
        /// `[rows][vocabulary]`.
        let logits: [[Float]]
        /// Of a GGUF file.
        let architecture: String?
        let metadata: [String: Value]?

        var testDescription: String { name }
        var tensorType: TensorType { type == "F16" ? .f16 : type == "BF16" ? .bf16 : .f32 }
    }

    enum Value: Decodable {
        case text(String), number(Double)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .text(text)
            } else {
                self = .number(try container.decode(Double.self))
            }
        }
    }

    let tokens: [Int32]
    let rows: [Int]
    let cases: [Case]

    static func data(_ name: String) throws -> Data {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try Data(contentsOf: folder.appending(path: "Fixtures/\(name)"))
    }

    init(_ name: String) throws { self = try JSONDecoder().decode(Self.self, from: Self.data(name)) }

    /// The text of each case's config.json.
    static func configurations(_ name: String) throws -> [Data] {
        let root = try JSONSerialization.jsonObject(with: data(name)) as? [String: Any]
        let cases = try #require(root?["cases"] as? [[String: Any]])
        return try cases.map { try JSONSerialization.data(withJSONObject: try #require($0["config"])) }
    }

    /// The largest difference of a logit, over prefills in uneven chunks.
    func largestDifference(_ source: ModelSource, _ expected: [[Float]], _ backend: FullPrecisionBackend) throws
        -> Float
    {
        let options = ModelOptions(threads: 1, fullPrecisionBackend: backend, maxRows: 64, kvBlocks: 8)
        let pass = try LlamaModel(source: source, options: options).makeForwardPass()
        var batch = StepBatch(), logits: [[Float]] = []
        for chunk in [0..<37, 37..<38, 38..<tokens.count] {
            batch.removeAll()
            batch.beginSequence(blockTable: [4, 2, 6, 1])
            for position in chunk {
                batch.append(token: tokens[position], position: Int32(position), wantsLogits: true)
            }
            try pass.run(batch)
            logits += chunk.indices.map { Array(pass.logits($0 - chunk.lowerBound)) }
        }
        return zip(rows, expected).map { row, wanted in
            zip(logits[row], wanted).map { abs($0 - $1) }.max() ?? .infinity
        }.max() ?? .infinity
    }
}
