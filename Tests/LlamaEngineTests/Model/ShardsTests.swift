import Foundation
import LlamaEngine
import ModelFile
import Testing

/// A model that was cut into several files computes what it computes whole.
@Suite struct ShardsTests {
    @Test func aModelInThreeFilesGivesTheSameBits() throws {
        let whole = TinyModel(types: [.q4_1, .q8_0, .f16], layers: 3, tied: false)
        let folder = FileManager.default.temporaryDirectory.appending(path: "shards-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for index in 0..<3 {
            var shard = whole
            // The first has the metadata and no tensor of those that the hyperparameters are read from.
            shard.tensors = whole.tensors.enumerated().filter { 2 - $0.offset % 3 == index }.map(\.element)
            if index > 0 { shard.metadata = [] }
            shard.metadata += [
                ("split.no", .count(index)), ("split.count", .count(3)),
                ("split.tensors.count", .count(whole.tensors.count)),
            ]
            try Data(shard.contents()).write(to: folder.appending(path: "tiny-0000\(index + 1)-of-00003.gguf"))
        }
        let source = try ModelSource(path: folder.appending(path: "tiny-00001-of-00003.gguf").path)
        let options = ModelOptions(threads: 1, fullPrecisionBackend: .panel, maxRows: 64, kvBlocks: 8)
        let cut = try LlamaModel(source: source, options: options)
        let original = try LlamaModel(file: try whole.file(), options: options)
        #expect(cut.configuration == original.configuration && !cut.configuration.tiedOutput)
        func logits(_ model: LlamaModel) throws -> [UInt32] {
            let pass = try model.makeForwardPass()
            var batch = StepBatch()
            batch.beginSequence(blockTable: [0])
            for position in 0..<8 {
                batch.append(token: Int32(position * 7 + 1), position: Int32(position), wantsLogits: position == 7)
            }
            try pass.run(batch)
            return pass.logits(0).map(\.bitPattern)
        }
        #expect(try logits(cut) == logits(original))
    }
}
