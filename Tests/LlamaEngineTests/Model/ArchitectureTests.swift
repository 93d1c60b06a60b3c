import Foundation
import LlamaEngine
import ModelFile
import Testing

/// What distinguishes the architectures, each against the same computation in doubles.
@Suite struct ArchitectureTests {
    /// Keys are stored in F16, and a last bit of that is more than the difference between single and double.
    private func expectEqual(
        _ model: TinyModel, _ reference: LlamaInDoubles, bound: Double = 5e-3, _ comment: Comment
    ) throws {
        let sequence = RowSequence(count: 40, vocabulary: 203, firstBlock: 3, stride: 2, seed: 9)
        let expected = reference.logits(sequence.tokens)
        for backend in [FullPrecisionBackend.panel, .openBLAS] {
            let bits = try model.pass(backend: backend).bits(sequence, chunks: [30, 1, 9])
            for (row, logits) in expected.enumerated() {
                let worst = zip(logits, bits[row]).map { abs($0 - Double(Float(bitPattern: $1))) }.max() ?? .infinity
                #expect(worst < bound, "row \(row), \(backend): \(comment)")
            }
        }
    }

    @Test func llamaWithEveryBias() throws {
        let model = TinyModel(
            types: [.f32],
            biases: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "output"],
            tied: false, seed: 41)
        try expectEqual(model, LlamaInDoubles(model), "biases")
    }

    /// Each bias of the feed-forward network by itself: two that are mixed up would go unseen where all are there.
    @Test(arguments: ["ffn_gate", "ffn_up", "ffn_down"]) func aBiasOfTheFeedForwardNetwork(_ name: String) throws {
        let model = TinyModel(types: [.f32], biases: [name], seed: 47)
        try expectEqual(model, LlamaInDoubles(model), "\(name)")
    }

    /// A folder calls them by other names, and config.json says `mlp_bias`.
    @Test func aFolderWithEveryBias() throws {
        let biases = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
        let model = TinyModel(types: [.f32], biases: biases, seed: 48)
        let names = [
            "token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        ]
        let folder = try MadeFolder()
        let tensors = try model.tensors.map { tensor in
            let parts = tensor.name.split(separator: ".").map(String.init), part = parts[parts.count - 2]
            let layer = parts.count == 4 ? "model.layers.\(parts[1])." : ""
            let name = "\(layer)\(try #require(names[part])).\(parts[parts.count - 1])"
            return (name, Array(tensor.dimensions.reversed()), tensor.type, tensor.bytes)
        }
        try folder.write("model.safetensors", SafeTensorsWriter.contents(tensors))
        try folder.write(
            "config.json",
            #"""
            {"architectures": ["LlamaForCausalLM"], "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 203,
            "max_position_embeddings": 1024, "rms_norm_eps": 1e-05, "attention_bias": true, "mlp_bias": true}
            """#.utf8)
        let sequence = RowSequence(count: 40, vocabulary: 203, firstBlock: 3, stride: 2, seed: 9)
        let expected = LlamaInDoubles(model, halves: true).logits(sequence.tokens)
        let loaded = try LlamaModel(
            source: try ModelSource(path: folder.url.path),
            options: ModelOptions(threads: 1, fullPrecisionBackend: .panel, maxRows: 64, kvBlocks: 16))
        let bits = try loaded.makeForwardPass().bits(sequence, chunks: [30, 1, 9])
        for (row, logits) in expected.enumerated() {
            let worst = zip(logits, bits[row]).map { abs($0 - Double(Float(bitPattern: $1))) }.max() ?? .infinity
            #expect(worst < 5e-3, "row \(row)")
        }
    }

    @Test func qwen2RotatesHalvesAndHasBiases() throws {
        let model = TinyModel(
            types: [.f32], architecture: "qwen2", biases: ["attn_q", "attn_k", "attn_v"], seed: 42)
        try expectEqual(model, LlamaInDoubles(model, halves: true), "qwen2")
    }

    @Test func qwen3NormsItsHeads() throws {
        let model = TinyModel(types: [.f32], architecture: "qwen3", headNorms: true, headSize: 64, seed: 43)
        try expectEqual(model, LlamaInDoubles(model, headSize: 64, halves: true), "qwen3")
    }

    @Test(arguments: ["llama", "qwen3"]) func aPartOfAHeadIsRotated(_ architecture: String) throws {
        let model = TinyModel(
            types: [.f32], architecture: architecture, headNorms: architecture == "qwen3", rotated: 20, headSize: 48,
            ropeFactors: true, seed: 44)
        let reference = LlamaInDoubles(model, headSize: 48, rotated: 20, halves: architecture == "qwen3")
        try expectEqual(model, reference, "partial rotation")
    }

    /// OpenLLaMA-3B has heads of 100: no whole number of the kernels' vectors, nor of quantised blocks.
    @Test(arguments: [("llama", 100, 100), ("llama", 8, 8), ("qwen2", 20, 20), ("qwen2", 36, 12)])
    func aHeadMayHaveAnySize(_ architecture: String, size: Int, rotated: Int) throws {
        let biases = ["attn_q", "attn_k", "attn_v", "attn_output"]
        let model = TinyModel(
            types: [.f32], architecture: architecture, biases: biases, rotated: rotated, heads: 8, kvHeads: 4,
            headSize: size, seed: 49)
        let reference = LlamaInDoubles(
            model, heads: 8, kvHeads: 4, headSize: size, rotated: rotated, halves: architecture == "qwen2")
        // Eight heads of 100 make sums of 800 products: measured 0.006.
        try expectEqual(model, reference, bound: 0.01, "heads of \(size)")
    }

    @Test func linearScalingDividesPositions() throws {
        var model = TinyModel(types: [.f32], seed: 45)
        model.set("llama.rope.scaling.type", .text("linear"))
        model.set("llama.rope.scaling.factor", .number(4))
        try expectEqual(model, LlamaInDoubles(model, scaled: { $0 / 4 }), "linear")
    }

    @Test func yarnKeepsFastPairsAndDividesSlowOnes() throws {
        var model = TinyModel(types: [.f32], architecture: "qwen2", biases: ["attn_q", "attn_k", "attn_v"], seed: 46)
        model.set("qwen2.rope.scaling.type", .text("yarn"))
        model.set("qwen2.rope.scaling.factor", .number(4))
        model.set("qwen2.rope.scaling.original_context_length", .count(256))
        // The pairs that turn 32 times and once in 256 positions: 16 ln(256 / 2 pi n) / ln 10000, so below 0.42 and above 6.44.
        // Whole pairs: the ramp goes from 0 to 7.
        let reference = LlamaInDoubles(model, halves: true, magnitude: 0.1 * log(4) + 1) { frequency in
            let pair = -16 * log(frequency) / log(10_000), divided = min(max(pair / 7, 0), 1)
            return frequency * (1 - divided) + frequency / 4 * divided
        }
        try expectEqual(model, reference, "yarn")
    }
}
