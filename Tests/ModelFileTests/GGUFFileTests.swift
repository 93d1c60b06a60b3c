import Testing

@testable import ModelFile

@Suite("GGUF files that are right")
struct GGUFFileTests {
    static func small() -> GGUFWriter {
        var writer = GGUFWriter()
        writer.metadata = [
            ("general.architecture", .string("llama")),
            ("general.name", .string("smäll")),
            ("llama.block_count", .uint32(2)),
            ("llama.rope.freq_base", .float32(10000)),
            ("tokenizer.ggml.add_bos_token", .bool(1)),
            ("tokenizer.ggml.tokens", .strings(["a", "", "Ġb", "é"])),
            ("tokenizer.ggml.token_type", .int32s([1, 1, 3, -1])),
            ("tokenizer.ggml.scores", .float32s([0, -0.5])),
        ]
        writer.add("token_embd.weight", [1, 2, 3, 4, 5, 6], dimensions: [3, 2])
        writer.add("output_norm.weight", [7, 8])
        return writer
    }

    @Test("metadata and tensors come back as they were written", arguments: [UInt32(2), 3])
    func roundTrip(version: UInt32) throws {
        var writer = Self.small()
        writer.version = version
        let file = try GGUFFile(contents: writer.contents())
        #expect(file.version == version)
        #expect(try file.string("general.name") == "smäll")
        #expect(try file.uint("llama.block_count") == 2)
        #expect(try file.float("llama.rope.freq_base") == 10000)
        #expect(try file.bool("tokenizer.ggml.add_bos_token"))
        #expect(try file.strings("tokenizer.ggml.tokens") == ["a", "", "Ġb", "é"])
        #expect(try file.integers("tokenizer.ggml.token_type") == [1, 1, 3, -1])
        #expect(try file.floats("tokenizer.ggml.scores") == [0, -0.5])
        #expect(file.tensorList.map(\.name) == ["token_embd.weight", "output_norm.weight"])

        let embedding = try #require(file.tensors["token_embd.weight"])
        #expect(embedding.dimensions == [3, 2])
        #expect(embedding.type == .f32)
        #expect(embedding.offset % 32 == 0)
        #expect(file.withBytes(of: embedding) { Array($0.bindMemory(to: Float.self)) } == [1, 2, 3, 4, 5, 6])
        let norm = try #require(file.tensors["output_norm.weight"])
        file.releasePages(of: norm)
        #expect(file.withBytes(of: norm) { Array($0.bindMemory(to: Float.self)) } == [7, 8])
    }

    @Test("the file's own alignment is used")
    func alignment() throws {
        var writer = GGUFWriter()
        writer.metadata = [("general.alignment", .uint32(64))]
        writer.alignment = 64
        writer.add("before", [1, 2])
        writer.add("after", [9])
        let file = try GGUFFile(contents: writer.contents())
        #expect(file.alignment == 64)
        let tensor = try #require(file.tensors["after"])
        #expect(tensor.offset % 64 == 0)
        #expect(file.withBytes(of: tensor) { $0.load(as: Float.self) } == 9)
    }

    @Test("a getter names the key that is missing, of another type or out of range")
    func gettersNameTheKey() throws {
        let file = try GGUFFile(contents: Self.small().contents())
        #expect(throws: ModelFileError(offset: nil, field: "metadata 'x.y'", reason: "is missing")) {
            try file.string("x.y")
        }
        #expect(throws: ModelFileError(offset: nil, field: "metadata 'general.name'", reason: "is not an array")) {
            try file.integers("general.name")
        }
        #expect(
            throws: ModelFileError(offset: nil, field: "metadata 'llama.block_count'", reason: "2 is not in 3...9")
        ) {
            try file.int("llama.block_count", in: 3...9)
        }
        #expect(try file.uint("absent", default: 5) == 5)
    }

    @Test("the content hash is XXH64 of the whole file")
    func contentHash() throws {
        // Published and cross-checked values of XXH64 with seed 0.
        func hash(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { XXH64.digest(of: $0) } }
        #expect(hash([]) == 0xEF46_DB37_51D8_E999)
        #expect(hash(Array("a".utf8)) == 0xD24E_C4F1_A98C_6E5B)
        #expect(hash(Array("abc".utf8)) == 0x44BC_2CF5_AD77_0999)
        #expect(hash((0..<101).map { UInt8($0) }) == 0xE990_3849_5F85_381E)

        let contents = Self.small().contents()
        var changed = contents
        changed[changed.count - 1] ^= 1
        let file = try GGUFFile(contents: contents)
        #expect(file.contentHash.count == 16)
        #expect(UInt64(file.contentHash, radix: 16) == hash(contents))
        #expect(try file.contentHash != GGUFFile(contents: changed).contentHash)
    }

    @Test("the default model opens", .enabled(if: DefaultModel.isPresent, Comment(rawValue: DefaultModel.missing)))
    func defaultModel() throws {
        let file = try GGUFFile(path: #require(DefaultModel.path))
        #expect(try file.string("general.architecture") == "llama")
        let embedding = try #require(file.tensors["token_embd.weight"])
        #expect(embedding.dimensions.count == 2)
        #expect(try file.arrayCount("tokenizer.ggml.tokens") == embedding.dimensions[1])
        #expect(file.withBytes(of: embedding) { $0.count } == embedding.byteCount)
    }
}
