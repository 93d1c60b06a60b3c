import Foundation
import Testing

@testable import ModelFile

/// A folder's files belong together, or it is refused.
@Suite struct ModelFolderTests {
    final class Folder {
        let url = FileManager.default.temporaryDirectory.appending(path: "model-folder-\(UUID().uuidString)")

        init(_ files: [String: [UInt8]]) throws {
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
            for (name, bytes) in files { try Data(bytes).write(to: url.appending(path: name)) }
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        func open() throws -> ModelFolder { try ModelFolder(path: url.path) }
    }

    static func shard(_ name: String, _ value: UInt8 = 7) -> [UInt8] {
        var bytes = SafeTensorsTests.file(
            SafeTensorsTests.padded("{\"\(name)\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"), data: 4)
        bytes[bytes.count - 1] = value
        return bytes
    }

    static func index(_ map: String) -> [UInt8] { Array("{\"metadata\":{},\"weight_map\":{\(map)}}".utf8) }

    static let two: [String: [UInt8]] = [
        "config.json": Array("{}".utf8), "a.safetensors": shard("model.norm.weight"),
        "b.safetensors": shard("model.layers.1.mlp.up_proj.weight"),
        "model.safetensors.index.json": index(
            #""model.norm.weight":"a.safetensors","model.layers.1.mlp.up_proj.weight":"b.safetensors""#),
    ]

    @Test func shardsBecomeOneSetOfTensors() throws {
        let folder = try Folder(Self.two), model = try folder.open()
        #expect(Set(model.tensors.keys) == ["output_norm.weight", "blk.1.ffn_up.weight"])
        #expect(model.ownName(of: "blk.1.ffn_up.weight") == "model.layers.1.mlp.up_proj.weight")
        let tensor = try #require(model.tensors["blk.1.ffn_up.weight"])
        #expect(model.withBytes(of: tensor) { Array($0) } == [7, 7, 7, 7])
        guard case .folder = try ModelSource(path: folder.url.path) else {
            Issue.record("a folder was opened as a file")
            return
        }
    }

    @Test func theHashCoversEveryFileOfWeights() throws {
        var files = Self.two
        let original = try Folder(files).open().contentHash
        #expect(original.utf8.count == 16)
        #expect(try Folder(files).open().contentHash == original)
        for name in ["a.safetensors", "b.safetensors", "config.json", "tokenizer.json"] {
            files = Self.two
            switch name {
            case "a.safetensors": files[name] = Self.shard("model.norm.weight", 8)
            case "b.safetensors": files[name] = Self.shard("model.layers.1.mlp.up_proj.weight", 8)
            default: files[name] = Array("{ }".utf8)
            }
            #expect(try Folder(files).open().contentHash != original, "\(name)")
        }
    }

    /// Which token is a turn's last stands in these.
    @Test func theHashCoversWhatEndsTurns() throws {
        let original = try Folder(Self.two).open().contentHash
        for name in ["generation_config.json", "tokenizer_config.json"] {
            var files = Self.two
            files[name] = Array(#"{"eos_token_id": 1}"#.utf8)
            let one = try Folder(files).open()
            files[name] = Array(#"{"eos_token_id": 2}"#.utf8)
            let other = try Folder(files).open()
            #expect(one.contentHash != original && one.contentHash != other.contentHash, "\(name)")
        }
    }

    /// Who plans prompts asks the files without loading a model.
    @Test func theContextIsTheStretchedOne() throws {
        for (key, type) in [("rope_scaling", "type"), ("rope_scaling", "rope_type"), ("rope_parameters", "rope_type")] {
            var files = Self.two
            files["config.json"] = Array(
                """
                {"max_position_embeddings": 32768,
                "\(key)": {"\(type)": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}
                """.utf8)
            let folder = try Folder(files)
            #expect(try ModelSource(path: folder.url.path).contextLength == 131_072, "\(key) \(type)")
        }
    }

    @Test func namesGoThereAndBack() {
        for name in [
            "model.embed_tokens.weight", "lm_head.weight", "model.layers.12.self_attn.q_proj.bias",
            "model.layers.0.input_layernorm.weight", "model.layers.3.self_attn.k_norm.weight",
        ] {
            #expect(TensorNames.gguf(name).flatMap(TensorNames.own) == name)
        }
        for name in [
            "", "model.layers.", "model.layers.01.mlp.up_proj.weight", "model.layers.x.mlp.up_proj.weight",
            "model.layers.-1.mlp.up_proj.weight", "model.layers.1.mlp.experts.0.up_proj.weight",
            "model.layers.1.weight",
        ] {
            #expect(TensorNames.gguf(name) == nil)
        }
    }

    static let lies: [(field: String, reason: String, change: @Sendable (inout [String: [UInt8]]) -> Void)] = [
        ("config.json", "missing", { $0["config.json"] = nil }),
        ("config.json", "no value", { $0["config.json"] = [0xff] }),
        ("b.safetensors", "No such file", { $0["b.safetensors"] = nil }),
        ("b.safetensors header length", "needs 8 bytes", { $0["b.safetensors"] = [1] }),
        ("model.safetensors", "No such file", { $0["model.safetensors.index.json"] = nil }),
        (
            "b.safetensors tensor 'model.norm.weight'", "not in this file",
            { $0["b.safetensors"] = shard("model.norm.weight") }
        ),
        ("weight_map.a'", "in no file", { $0["model.safetensors.index.json"] = index(two(adding: "a")) }),
        ("model.safetensors.index.json", "weight_map", { $0["model.safetensors.index.json"] = Array("{}".utf8) }),
        ("weight_map'", "0 files", { $0["model.safetensors.index.json"] = index("") }),
        ("weight_map'", "plain file name", { $0["model.safetensors.index.json"] = index(#""x":"../b""#) }),
        ("weight_map'", "plain file name", { $0["model.safetensors.index.json"] = index(#""x":"/etc/passwd""#) }),
        ("weight_map'", "plain file name", { $0["model.safetensors.index.json"] = index(#""x":"..""#) }),
    ]

    private static func two(adding name: String) -> String {
        #""model.norm.weight":"a.safetensors","model.layers.1.mlp.up_proj.weight":"b.safetensors","\#(name)":"a.safetensors""#
    }

    @Test(arguments: lies.indices) func aLieIsRefused(_ index: Int) throws {
        var files = Self.two
        Self.lies[index].change(&files)
        let folder = try Folder(files)
        let error = try #require(throws: ModelFileError.self) { _ = try folder.open() }
        #expect(error.field.contains(Self.lies[index].field), "\(error)")
        #expect(error.reason.contains(Self.lies[index].reason), "\(error)")
    }
}
