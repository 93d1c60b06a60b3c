import Foundation
import Testing

@testable import ModelFile

@Suite("A model in several GGUF files")
struct GGUFShardsTests {
    /// Files in a folder of their own, which goes with it.
    private final class Files {
        let folder = FileManager.default.temporaryDirectory.appending(path: "shards-\(UUID().uuidString)")

        init() throws { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }

        deinit { try? FileManager.default.removeItem(at: folder) }

        func write(_ writer: GGUFWriter, _ name: String) throws {
            try Data(writer.contents()).write(to: folder.appending(path: name))
        }

        func open(_ name: String = "m-00001-of-00003.gguf") throws -> ModelSource {
            try ModelSource(path: folder.appending(path: name).path)
        }
    }

    private func shard(_ index: Int, of count: Int = 3, total: Int? = 3, _ tensors: [String: [Float]]) -> GGUFWriter {
        var writer = index == 0 ? SmallVocabulary.writer() : GGUFWriter()
        writer.metadata += [
            ("split.no", .uint32(UInt32(index))), ("split.count", .uint32(UInt32(count))),
        ]
        if let total { writer.metadata.append(("split.tensors.count", .int32(Int32(total)))) }
        if index == 0 {
            writer.metadata += [("general.architecture", .string("llama")), ("llama.context_length", .uint32(99))]
        }
        for (name, values) in tensors.sorted(by: { $0.key < $1.key }) { writer.add(name, values) }
        return writer
    }

    private func files() throws -> Files {
        let files = try Files()
        try files.write(shard(0, ["a.weight": [1, 2]]), "m-00001-of-00003.gguf")
        try files.write(shard(1, ["b.weight": [3]]), "m-00002-of-00003.gguf")
        try files.write(shard(2, ["c.weight": [4, 5, 6]]), "m-00003-of-00003.gguf")
        return files
    }

    @Test("has the tensors of all of them, and the first one's metadata")
    func whole() throws {
        let files = try files()
        let source = try files.open()
        let tensors = source.tensors
        #expect(Set(tensors.tensors.keys) == ["a.weight", "b.weight", "c.weight"])
        let tensor = try #require(tensors.tensors["c.weight"])
        #expect(tensors.withBytes(of: tensor) { Array($0.bindMemory(to: Float.self)) } == [4, 5, 6])
        tensors.releasePages(of: tensor)
        #expect(try source.contextLength == 99)
        #expect(try Tokenizer(source: source).vocabularySize > 256)
    }

    @Test("has a digest over all files", arguments: 1...3)
    func digest(changed: Int) throws {
        let files = try files()
        let original = try files.open().tensors.contentHash
        #expect(try files.open().tensors.contentHash == original && original.count == 16)
        let tensors: [String: [Float]] = [["a.weight": [1, 9]], ["b.weight": [9]], ["c.weight": [4, 5, 9]]][changed - 1]
        try files.write(shard(changed - 1, tensors), "m-0000\(changed)-of-00003.gguf")
        #expect(try files.open().tensors.contentHash != original)
    }

    @Test("is refused by name when a file is missing, is another's, or is not the first")
    func refusals() throws {
        func refused(_ named: String, _ name: String = "m-00001-of-00003.gguf", _ change: (Files) throws -> Void) throws
        {
            let files = try files()
            try change(files)
            let error = #expect(throws: ModelFileError.self) { try files.open(name) }
            #expect(error?.description.contains(named) == true, "\(error?.description ?? "")")
        }
        try refused("m-00002-of-00003.gguf") {
            try FileManager.default.removeItem(at: $0.folder.appending(path: "m-00002-of-00003.gguf"))
        }
        try refused("'-00001-of-00003.gguf'", "m-00002-of-00003.gguf") { _ in }
        try refused("'-00001-of-00003.gguf'", "renamed.gguf") { try $0.write(shard(0, [:]), "renamed.gguf") }
        try refused("it is file 3 of 3, not 2 of 3") {
            try $0.write(shard(2, ["b.weight": [3]]), "m-00002-of-00003.gguf")
        }
        try refused("it is file 2 of 4, not 2 of 3") {
            try $0.write(shard(1, of: 4, ["b.weight": [3]]), "m-00002-of-00003.gguf")
        }
        try refused("'a.weight': is in two files") {
            try $0.write(shard(1, ["a.weight": [3]]), "m-00002-of-00003.gguf")
        }
        try refused("have 3 tensors, not 4") {
            try $0.write(shard(0, total: 4, ["a.weight": [1, 2]]), "m-00001-of-00003.gguf")
        }
        try refused("split.count") { try $0.write(shard(0, of: 9_999_999, [:]), "m-00001-of-00003.gguf") }
    }

    @Test("a file that says it is the only one is whole")
    func single() throws {
        let files = try Files()
        try files.write(shard(0, of: 1, total: 1, ["a.weight": [1]]), "one.gguf")
        guard case .gguf = try files.open("one.gguf") else {
            Issue.record("opened as one of several")
            return
        }
    }
}
