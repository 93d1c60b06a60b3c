import CKernels
import LlamaEngine
import ModelFile
import Testing

/// A file that lies is refused with the name of the tensor or key.
@Suite struct LlamaModelTests {
    static let lies: [(field: String, reason: String, lie: @Sendable (inout TinyModel) -> Void)] = [
        (
            "metadata 'general.architecture'", "'gemma2' is not supported",
            { $0.set("general.architecture", .text("gemma2")) }
        ),
        ("metadata 'llama.expert_count'", "mixture", { $0.set("llama.expert_count", .count(8)) }),
        ("metadata 'llama.rope.scaling.type'", "longrope", { $0.set("llama.rope.scaling.type", .text("longrope")) }),
        ("metadata 'llama.rope.scaling.factor'", "-2.0", { $0.set("llama.rope.scaling.factor", .number(-2)) }),
        (
            "metadata 'llama.rope.scaling.yarn_beta_fast'", "0 < slow",
            {
                $0.set("llama.rope.scaling.type", .text("yarn"))
                $0.set("llama.rope.scaling.factor", .number(4))
                $0.set("llama.rope.scaling.yarn_beta_fast", .number(0.5))
            }
        ),
        (
            "metadata 'llama.rope.scaling.original_context_length'", "0 is not in",
            {
                $0.set("llama.rope.scaling.type", .text("yarn"))
                $0.set("llama.rope.scaling.original_context_length", .count(0))
            }
        ),
        ("metadata 'llama.block_count'", "missing", { $0.metadata.removeAll { $0.0 == "llama.block_count" } }),
        ("metadata 'llama.block_count'", "0", { $0.set("llama.block_count", .count(0)) }),
        ("metadata 'llama.embedding_length'", "100", { $0.set("llama.embedding_length", .count(100)) }),
        ("metadata 'llama.attention.head_count_kv'", "divide", { $0.set("llama.attention.head_count_kv", .count(3)) }),
        (
            "metadata 'qwen3.attention.key_length'", "24",
            {
                $0 = TinyModel(types: [.f32], architecture: "qwen3", headNorms: true)
                $0.set("qwen3.attention.key_length", .count(24))
                $0.set("qwen3.attention.value_length", .count(24))
            }
        ),
        ("metadata 'llama.attention.value_length'", "64", { $0.set("llama.attention.value_length", .count(64)) }),
        ("metadata 'llama.rope.dimension_count'", "64", { $0.set("llama.rope.dimension_count", .count(64)) }),
        ("metadata 'llama.rope.freq_base'", "0.5", { $0.set("llama.rope.freq_base", .number(0.5)) }),
        (
            "metadata 'llama.attention.layer_norm_rms_epsilon'", "finite",
            { $0.set("llama.attention.layer_norm_rms_epsilon", .number(.nan)) }
        ),
        ("tensor 'token_embd.weight'", "missing", { $0.tensors.removeFirst() }),
        ("tensor 'blk.1.ffn_down.weight'", "missing", { $0.tensors.removeAll { $0.name == "blk.1.ffn_down.weight" } }),
        ("tensor 'blk.0.attn_k.weight' dimensions", "[96, 64]", { $0.reshape("blk.0.attn_k.weight", [64, 96]) }),
        ("tensor 'token_embd.weight' dimensions", "[203, 96]", { $0.reshape("token_embd.weight", [203, 96]) }),
        ("tensor 'blk.0.attn_norm.weight' type", "q8_0", { $0.retype("blk.0.attn_norm.weight", .q8_0, bytes: 102) }),
        (
            "tensor 'blk.0.ffn_up.weight' type", "q8_1",
            { $0.retype("blk.0.ffn_up.weight", .q8_1, bytes: 96 * 160 / 32 * 36) }
        ),
        (
            "tensor 'blk.0.attn_q.bias' dimensions", "[128]",
            { $0.tensors.append(.init(name: "blk.0.attn_q.bias", dimensions: [1], type: .f32, bytes: [0, 0, 0, 0])) }
        ),
        (
            "tensor 'blk.0.ffn_down.scale'", "not supported",
            {
                $0.tensors.append(
                    .init(name: "blk.0.ffn_down.scale", dimensions: [1], type: .f32, bytes: [0, 0, 0, 0]))
            }
        ),
        (
            "metadata 'general.architecture'", "'qwen2moe' is not supported",
            { $0.set("general.architecture", .text("qwen2moe")) }
        ),
        (
            "tensor 'blk.0.attn_q.bias'", "missing",
            { $0 = TinyModel(types: [.f32], architecture: "qwen2", biases: ["attn_k", "attn_v"]) }
        ),
        (
            "tensor 'blk.0.attn_k_norm.weight'", "missing",
            {
                $0 = TinyModel(types: [.f32], architecture: "qwen3", headNorms: true)
                $0.tensors.removeAll { $0.name == "blk.0.attn_k_norm.weight" }
            }
        ),
        (
            "tensor 'rope_freqs.weight'", "not a positive",
            {
                $0.tensors.append(
                    .init(
                        name: "rope_freqs.weight", dimensions: [16], type: .f32, bytes: .init(repeating: 0, count: 64)))
            }
        ),
    ]

    @Test(arguments: lies.indices) func aLieIsRefused(_ index: Int) throws {
        var model = TinyModel(types: [.f32])
        Self.lies[index].lie(&model)
        let error = try #require(throws: ModelError.self) { _ = try LlamaModel(file: try model.file()) }
        #expect(error.field == Self.lies[index].field)
        #expect(error.reason.contains(Self.lies[index].reason), "\(error.reason)")
    }

    @Test func rowsThatAreNoWholeSuperBlocksAreRefused() throws {
        var model = TinyModel(types: [.q8_0])
        model.retype("blk.0.ffn_up.weight", .q4_K, bytes: 96 * 160 / 256 * 144)
        let error = try #require(throws: ModelFileError.self) { _ = try model.file() }
        #expect(error.field == "tensor 'blk.0.ffn_up.weight' dimension 0")
        #expect(ck_panel_bytes(Int32(CK_Q4_K.rawValue), 96) == 0)
    }

    @Test func optionsOutOfBoundsAreRefused() throws {
        let file = try TinyModel(types: [.f32]).file()
        for (options, field) in [
            (ModelOptions(threads: 0), "option threads"), (ModelOptions(threads: 65), "option threads"),
            (ModelOptions(maxRows: 0), "option maxRows"), (ModelOptions(kvBlocks: -1), "option kvBlocks"),
        ] {
            #expect(throws: ModelError.self) { _ = try LlamaModel(file: file, options: options) }
            do { _ = try LlamaModel(file: file, options: options) } catch { #expect(error.field == field) }
        }
        let quantised = try TinyModel(types: [.q8_0]).file()
        do {
            _ = try LlamaModel(file: quantised, options: ModelOptions(activations: .fullPrecision))
            Issue.record("a quantised file ran without quantised activations")
        } catch { #expect(error.field == "option activations") }
    }

    @Test func theNumericsIDNamesWhatBitsDependOn() throws {
        func id(_ model: TinyModel, _ options: ModelOptions) throws -> String {
            try LlamaModel(file: try model.file(), options: options).numericsID
        }
        let model = TinyModel(types: [.f32], seed: 1)
        let panel = try id(model, ModelOptions(threads: 1, kernels: .scalar, fullPrecisionBackend: .panel))
        // Neither threads nor kernels change a bit.
        #expect(try id(model, ModelOptions(threads: 2, fullPrecisionBackend: .panel, maxRows: 8)) == panel)
        #expect(try id(model, ModelOptions(fullPrecisionBackend: .openBLAS)) != panel)
        #expect(try id(TinyModel(types: [.f32], seed: 2), ModelOptions(fullPrecisionBackend: .panel)) != panel)
    }

    @Test func openBLASIsTheDefaultOnlyWhereItKeepsARowsBits() throws {
        let file = try TinyModel(types: [.f32]).file()
        let forced = try LlamaModel(file: file, options: ModelOptions(fullPrecisionBackend: .openBLAS))
        #expect(forced.fullPrecisionBackend == .openBLAS && forced.backendName?.isEmpty == false)
        let chosen = try LlamaModel(file: file)
        #expect(chosen.fullPrecisionBackend == (forced.isRowInvariant ? .openBLAS : .panel))
        #expect(chosen.isRowInvariant)
    }
}

extension TinyModel {
    mutating func set(_ key: String, _ value: Value) {
        metadata.removeAll { $0.0 == key }
        metadata.append((key, value))
    }

    mutating func reshape(_ name: String, _ dimensions: [Int]) {
        for index in tensors.indices where tensors[index].name == name { tensors[index].dimensions = dimensions }
    }

    mutating func retype(_ name: String, _ type: TensorType, bytes: Int) {
        for index in tensors.indices where tensors[index].name == name {
            tensors[index].type = type
            tensors[index].bytes = .init(repeating: 0, count: bytes)
        }
    }
}
