import ModelFile
import Testing

@testable import LlamaEngine

/// The numerics contract: a row's logits depend on its own sequence only, down to the last bit.
@Suite struct ForwardPassTests {
    /// One model for each way of multiplying, and one that mixes them.
    static let models: [(name: String, model: TinyModel)] = [
        ("f32", TinyModel(types: [.f32], seed: 11)),
        ("q4_1, tied q8_0", TinyModel(types: [.q8_0] + Array(repeating: .q4_1, count: 14), seed: 12)),
        ("mixed", TinyModel(types: [.f16, .q4_0, .bf16, .q8_0, .f32, .q4_1], tied: false, seed: 13)),
        ("heads of 16", TinyModel(types: [.q4_1], heads: 6, kvHeads: 2, headSize: 16, seed: 14)),
        ("heads of 80", TinyModel(types: [.q8_0], heads: 2, kvHeads: 1, headSize: 80, seed: 15)),
        (
            "qwen2",
            TinyModel(types: [.q4_1], architecture: "qwen2", biases: ["attn_q", "attn_k", "attn_v"], seed: 16)
        ),
        ("qwen3", TinyModel(types: [.q8_0, .f16], architecture: "qwen3", headNorms: true, headSize: 48, seed: 17)),
        ("blocks of 32", TinyModel(types: [.q8_0, .q5_0, .q5_1, .iq4_NL, .q4_0], seed: 18)),
        ("super-blocks", kTypes),
        ("window of 37", TinyModel(types: [.q4_1], heads: 7, kvHeads: 1, headSize: 32, window: 37, seed: 18)),
        (
            "window of 300, bf16",
            TinyModel(
                types: [.q8_0], heads: 6, kvHeads: 2, headSize: 112, embedding: 64, window: 300, kvType: .bf16, seed: 19
            )
        ),
        ("q8", TinyModel(types: [.q4_1], heads: 9, kvHeads: 3, headSize: 64, kvType: .q8, seed: 21)),
        (
            "window of 37, heads of 48, q8",
            TinyModel(
                types: [.f32], architecture: "qwen3", headNorms: true, heads: 8, kvHeads: 1, headSize: 48, window: 37,
                kvType: .q8, seed: 22)
        ),
        (
            "biases of the feed-forward network",
            TinyModel(
                types: [.q8_0, .q4_1, .q6_K], biases: ["ffn_gate", "ffn_up", "ffn_down"], heads: 8, embedding: 256,
                feedForward: 512, seed: 23)
        ),
        ("heads of 100", TinyModel(types: [.f32], heads: 8, kvHeads: 4, headSize: 100, seed: 24)),
        (
            "heads of 20, q8_0",
            TinyModel(
                types: [.q8_0, .q4_0], architecture: "qwen2", biases: ["attn_q", "attn_k", "attn_v"], heads: 8,
                kvHeads: 2,
                headSize: 20, window: 37, seed: 25)
        ),
        ("heads of 8, q8", TinyModel(types: [.q4_1], heads: 8, kvHeads: 8, headSize: 8, kvType: .q8, seed: 26)),
        ("window of 5", TinyModel(types: [.f32], kvHeads: 4, headSize: 16, window: 5, seed: 20)),
    ]

    /// Rows of 256 and 512, as K types need them; the embedding is Q6_K and tied, as in most files.
    static let kTypes = TinyModel(
        types: [.q6_K, .q4_K, .q5_K, .q3_K, .iq4_XS, .q2_K, .q5_0], heads: 8, kvHeads: 2, headSize: 32, embedding: 256,
        feedForward: 512, seed: 19)

    /// Several splits of 256 positions, so that merging is part of it.
    static let long = RowSequence(count: 540, vocabulary: 203, firstBlock: 40, seed: 5)

    @Test func equalsDoublesWhereNothingIsQuantised() throws {
        let model = TinyModel(types: [.f32], tied: false, ropeFactors: true, seed: 21)
        let sequence = RowSequence(count: 40, vocabulary: 203, firstBlock: 3, stride: 2, seed: 9)
        let expected = LlamaInDoubles(model).logits(sequence.tokens)
        for backend in [FullPrecisionBackend.panel, .openBLAS] {
            let pass = try model.pass(backend: backend)
            let bits = try pass.bits(sequence, chunks: [40])
            for (row, logits) in expected.enumerated() {
                let worst = zip(logits, bits[row]).map { abs($0 - Double(Float(bitPattern: $1))) }.max() ?? .infinity
                #expect(worst < 2e-3, "row \(row), \(backend)")
            }
        }
    }

    /// Quantised weights against the same numbers in F32: what is left is the rounding of activations to 8 bits.
    @Test(arguments: models.indices) func isNearItsTwinInFullPrecision(_ index: Int) throws {
        let model = Self.models[index].model
        let sequence = RowSequence(count: 24, vocabulary: 203, firstBlock: 0, seed: 41)
        let exact = try model.inFullPrecision().pass().bits(sequence, chunks: [24])
        let logits = try model.pass().bits(sequence, chunks: [24])
        var error = 0.0, size = 0.0
        for (row, twin) in zip(logits, exact) {
            for (a, b) in zip(row, twin) {
                let a = Double(Float(bitPattern: a)), b = Double(Float(bitPattern: b))
                error += (a - b) * (a - b)
                size += b * b
            }
        }
        // Measured: 0.02 to 0.03, and 0.054 for the super-blocks. A wrong scale in one matrix gives 0.3 and more.
        #expect((error / size).squareRoot() < 0.08)
    }

    @Test(arguments: models.indices) func chunksGiveTheWholesBits(_ index: Int) throws {
        let pass = try Self.models[index].model.pass()
        let whole = try pass.bits(Self.long, chunks: [512, 28])
        let chunked = try pass.bits(Self.long, chunks: [1, 7, 9, 250, 1, 1, 3, 129, 139])
        #expect(whole == chunked)
    }

    @Test(arguments: models.indices) func everyNumberOfThreadsGivesTheSameBits(_ index: Int) throws {
        let one = try Self.models[index].model.pass(threads: 1)
        let three = try Self.models[index].model.pass(threads: 3)
        let expected = try one.bits(Self.long, chunks: [512, 1, 27])
        for threads in 1...3 {
            three.activeThreads = threads
            #expect(try three.bits(Self.long, chunks: [512, 1, 5, 22]) == expected, "\(threads) threads")
        }
    }

    @Test(arguments: models.indices) func aRowDoesNotFeelItsBatch(_ index: Int) throws {
        let model = Self.models[index].model
        let alone = try model.pass(kvBlocks: 64)
        let subject = RowSequence(count: 70, vocabulary: 203, firstBlock: 0, seed: 100)
        let expected = try alone.bits(subject, chunks: [50] + Array(repeating: 1, count: 20))

        let crowd = try model.pass(threads: 2)
        let others = (0..<16).map { RowSequence(count: 60, vocabulary: 203, firstBlock: 10 + $0 * 4, seed: UInt64($0)) }
        var mine: [[UInt32]] = []
        mine += try crowd.bits(rows([(others[0], 0..<9), (subject, 0..<13), (others[1], 0..<30)]))[9..<22]
        mine += try crowd.bits(rows([(subject, 13..<50), (others[2], 0..<5)]))[0..<37]
        for position in 50..<70 {
            // Different neighbours in each step, before and after, some that prefill and some that decode.
            let before = position % 3, at = position - 50
            var parts = others[..<before].map { ($0, at..<at + 1 + at % 2) }
            parts.append((subject, position..<position + 1))
            parts += others[before..<(before + position % 13)].map { ($0, at..<at + 3) }
            let row = parts[..<before].reduce(0) { $0 + $1.1.count }
            mine.append(try crowd.bits(rows(parts))[row])
        }
        #expect(mine == expected)
    }

    @Test(arguments: models.indices) func everyVariantGivesTheScalarTwinsBits(_ index: Int) throws {
        let model = Self.models[index].model
        let sequence = RowSequence(count: 290, vocabulary: 203, firstBlock: 0, seed: 77)
        let chunks = [270, 1, 2, 3, 4, 5, 5]
        let expected = try model.pass(kernels: .scalar).bits(sequence, chunks: chunks)
        for variant in KernelVariant.available where variant != .scalar {
            #expect(try model.pass(kernels: variant).bits(sequence, chunks: chunks) == expected, "\(variant)")
        }
    }

    @Test func whatLiesInUnusedSlotsDoesNotMatter() throws {
        let model = Self.models[1].model
        let pass = try model.pass()
        let short = RowSequence(count: 21, vocabulary: 203, firstBlock: 0, seed: 3)
        let expected = try pass.bits(short, chunks: [21])
        let bytes = pass.kvBytes
        pass.memory.kv.withMemoryRebound(to: UInt16.self, capacity: bytes / 2) { kv in
            for slot in 0..<bytes / 2 { kv[slot] = 0x7e00 }  // not a number
        }
        #expect(try pass.bits(short, chunks: [5, 16]) == expected)
    }

    @Test func aCopiedBlockGivesTheSameBits() throws {
        let pass = try Self.models[2].model.pass()
        var sequence = RowSequence(count: 30, vocabulary: 203, firstBlock: 0, seed: 8)
        let expected = try pass.bits(sequence, chunks: [29, 1])
        for (from, to) in [(Int32(0), Int32(100)), (1, 50)] { pass.copyBlock(from: from, to: to) }
        sequence.blocks = [100, 50]
        #expect(try pass.bits(rows([(sequence, 29..<30)])) == Array(expected[29...]))
        pass.copyBlock(from: 0, to: 10_000)  // refused
    }

    @Test func aNonFiniteLogitFailsItsRowOnly() throws {
        var model = TinyModel(types: [.f32], tied: false, seed: 31)
        model.tensors[0].bytes.replaceSubrange(
            7 * 96 * 4..<7 * 96 * 4 + 4, with: littleEndian(Float.infinity.bitPattern))
        let good = RowSequence(count: 3, vocabulary: 7, firstBlock: 0, seed: 1)
        var bad = good
        bad.blocks = [5]
        bad.tokens = [1, 7, 2]
        let pass = try model.pass()
        let expected = try pass.bits(good, chunks: [3])
        let batch = rows([(bad, 0..<3), (good, 0..<3)])
        #expect(throws: EngineError.nonFiniteLogits(outputs: [1, 2])) { try pass.run(batch) }
        #expect((3..<6).map { pass.logits($0).map(\.bitPattern) } == expected)

        var broken = TinyModel(types: [.f32] + Array(repeating: .q4_1, count: 20), tied: false, seed: 31)
        broken.tensors[0].bytes = model.tensors[0].bytes
        let second = try broken.pass()
        #expect(throws: EngineError.nonFiniteLogits(outputs: [1, 2])) { try second.run(batch) }
    }

    @Test func onlyWantedRowsGiveLogits() throws {
        let pass = try Self.models[1].model.pass()
        let sequence = RowSequence(count: 40, vocabulary: 203, firstBlock: 0, seed: 4)
        let expected = try pass.bits(sequence, chunks: [40])
        var batch = rows([(sequence, 0..<40)])
        batch.outputRows = [3, 39]
        #expect(try pass.bits(batch) == [expected[3], expected[39]])
        batch.outputRows = []
        try pass.run(batch)
    }
}
