import Foundation
import LlamaEngine
import ModelFile
import Testing

/// What distinguishes the architectures, each against the same computation in doubles.
@Suite struct ArchitectureTests {
    /// Keys are stored in F16, and a last bit of that is more than the difference between single and double.
    private func expectEqual(_ model: TinyModel, _ reference: LlamaInDoubles, _ comment: Comment) throws {
        let sequence = RowSequence(count: 40, vocabulary: 203, firstBlock: 3, stride: 2, seed: 9)
        let expected = reference.logits(sequence.tokens)
        for backend in [FullPrecisionBackend.panel, .openBLAS] {
            let bits = try model.pass(backend: backend).bits(sequence, chunks: [30, 1, 9])
            for (row, logits) in expected.enumerated() {
                let worst = zip(logits, bits[row]).map { abs($0 - Double(Float(bitPattern: $1))) }.max() ?? .infinity
                #expect(worst < 5e-3, "row \(row), \(backend): \(comment)")
            }
        }
    }

    @Test func llamaWithEveryBias() throws {
        let model = TinyModel(
            types: [.f32], biases: ["attn_q", "attn_k", "attn_v", "attn_output", "output"], tied: false, seed: 41)
        try expectEqual(model, LlamaInDoubles(model), "biases")
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
