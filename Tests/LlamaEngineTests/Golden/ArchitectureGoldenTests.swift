import Foundation
import LlamaEngine
import ModelFile
import Testing

/// Every architecture and form of file against programs that share no code with the engine. What is left is the rounding of keys
/// and values to F16, which those keep in F32 or round at other places; logits reach 17.
@Suite("Small models of every architecture") struct ArchitectureGoldenTests {
    static let bound: Float = 0.03

    static let folders = Result { try ArchitectureFixture("transformers.json") }
    static let files = Result { try ArchitectureFixture("architectures-llamacpp.json") }

    @Test("as folders give the logits of transformers", arguments: 0..<10) func folder(_ index: Int) throws {
        let fixture = try Self.folders.get(), model = fixture.cases[index]
        let folder = try MadeFolder()
        let config = try ArchitectureFixture.configurations("transformers.json")[index]
        try folder.write(config: config, tensors: model.tensors, type: model.tensorType, shards: 1 + index % 3)
        for backend in [FullPrecisionBackend.panel, .openBLAS] {
            let source = try ModelSource(path: folder.url.path)
            let difference = try fixture.largestDifference(source, model.logits, backend)
            #expect(difference < Self.bound, "\(model.name), \(backend)")
        }
    }

    @Test("as GGUF files give the logits of llama.cpp", arguments: 0..<8) func file(_ index: Int) throws {
        let fixture = try Self.files.get(), model = fixture.cases[index]
        let architecture = try #require(model.architecture), metadata = try #require(model.metadata)
        var tiny = TinyModel(types: [.f32], layers: 0)
        tiny.metadata = [("general.architecture", .text(architecture))]
        for (key, value) in metadata {
            let value: TinyModel.Value =
                switch value {
                case .text(let text): .text(text)
                case .number(let number):
                    // JSON does not tell 4 from 4.0, GGUF does.
                    ["factor", "freq_base", "epsilon"].contains { key.hasSuffix($0) }
                        ? .number(Float(number)) : .count(Int(number))
                }
            tiny.metadata.append(("\(architecture).\(key)", value))
        }
        tiny.tensors = model.tensors.sorted { $0.key < $1.key }.map { name, shape in
            .init(name: name, dimensions: shape.reversed(), type: .f32, bytes: MadeWeights.bytes(name, shape, .f32))
        }
        let difference = try fixture.largestDifference(.gguf(try tiny.file()), model.logits, .panel)
        #expect(difference < Self.bound, "\(model.name)")
    }

    @Test func theFixturesAreAllThere() throws {
        #expect(try Self.folders.get().cases.count == 10)
        #expect(try Self.files.get().cases.count == 8)
    }
}
