import ModelFile
import Testing

@testable import LlamaEngine

/// Attention against plain doubles: types of the KV cache, windows, head sizes.
@Suite struct AttentionTests {
    /// One layer, so narrow that hundreds of positions can be computed in doubles.
    private static func narrow(_ kvType: KVType, window: Int?, headSize: Int = 16) -> TinyModel {
        TinyModel(
            types: [.f32], layers: 1, heads: 2, kvHeads: 1, headSize: headSize, embedding: 32, feedForward: 32,
            vocabulary: 40, window: window, kvType: kvType, seed: 61)
    }

    private static func bfloat(_ x: Double) -> Double {
        let bits = Float(x).bitPattern, kept = bits & 0xffff_0000, rest = bits & 0xffff
        let up = rest > 0x8000 || (rest == 0x8000 && bits & 0x10000 != 0)
        return Double(Float(bitPattern: up ? kept + 0x10000 : kept))
    }

    private static func stored(_ type: KVType, headSize: Int) -> ([Double]) -> [Double] {
        switch type {
        case .f16: { $0.map { Double(Float16($0)) } }
        case .bf16: { $0.map(bfloat) }
        case .q8: { eightBits($0, headSize) }
        }
    }

    /// Queries meet keys of 8 bits in blocks of 32 elements of a head.
    private static func asked(_ type: KVType, headSize: Int) -> ([Double]) -> [Double] {
        guard type == .q8 else { return { $0 } }
        return { heads in
            stride(from: 0, to: heads.count, by: headSize).flatMap {
                eightBits(Array(heads[$0..<$0 + headSize]), 32)
            }
        }
    }

    /// Each `count` elements, or what is left, with one scale.
    private static func eightBits(_ x: [Double], _ count: Int) -> [Double] {
        stride(from: 0, to: x.count, by: count).flatMap { start in
            let part = x[start..<min(start + count, x.count)], scale = (part.map(abs).max() ?? 0) / 127
            return part.map { ($0 / scale).rounded(.toNearestOrEven) * scale }
        }
    }

    /// A value between two of the cache's numbers may be rounded to either, so a coarser type differs by more.
    private static func bound(_ type: KVType) -> Double {
        switch type {
        case .f16: 2e-3
        case .bf16: 8e-3
        case .q8: 5e-2
        }
    }

    private static func worst(_ a: [[Double]], _ b: [[UInt32]]) -> Double {
        zip(a, b).flatMap { zip($0, $1).map { abs($0 - Double(Float(bitPattern: $1))) } }.max() ?? .infinity
    }

    @Test(arguments: KVType.allCases, [nil, 1, 7, 270]) func equalsDoubles(_ type: KVType, _ window: Int?) throws {
        let model = Self.narrow(type, window: window)
        let sequence = RowSequence(count: 300, vocabulary: 40, firstBlock: 3, stride: 2, seed: 9)
        let expected = LlamaInDoubles(
            model, layers: 1, heads: 2, kvHeads: 1, headSize: 16, embedding: 32, window: window,
            stored: Self.stored(type, headSize: 16), asked: Self.asked(type, headSize: 16)
        ).logits(sequence.tokens)
        let bits = try model.pass().bits(sequence, chunks: [280, 1, 19])
        #expect(Self.worst(expected, bits) < Self.bound(type))
    }

    @Test(arguments: KVType.allCases, [32, 80, 96, 112, 128, 256])
    func everyHeadSize(_ type: KVType, _ headSize: Int) throws {
        let model = Self.narrow(type, window: nil, headSize: headSize)
        let sequence = RowSequence(count: 40, vocabulary: 40, firstBlock: 3, seed: 10)
        let expected = LlamaInDoubles(
            model, layers: 1, heads: 2, kvHeads: 1, headSize: headSize, embedding: 32,
            stored: Self.stored(type, headSize: headSize), asked: Self.asked(type, headSize: headSize)
        ).logits(sequence.tokens)
        let bits = try model.pass().bits(sequence, chunks: [30, 1, 9])
        #expect(Self.worst(expected, bits) < Self.bound(type))
        for variant in KernelVariant.available {
            #expect(try model.pass(kernels: variant).bits(sequence, chunks: [30, 1, 9]) == bits, "\(variant)")
        }
    }

    /// What no row of a window sees may be gone.
    @Test func blocksBeforeTheWindowAreNotRead() throws {
        let model = Self.narrow(.f16, window: 40)
        let sequence = RowSequence(count: 330, vocabulary: 40, firstBlock: 0, seed: 11)
        let pass = try model.pass()
        let expected = try pass.bits(sequence, chunks: [320, 10])
        _ = try pass.bits(sequence, chunks: [320])
        let firstSeen = (320 - 40 + 1) / StepBatch.blockSize
        let bytes = firstSeen * pass.memory.kvBlockBytes
        for byte in 0..<bytes { pass.memory.kv[byte] = 0xff }  // not a number
        #expect(try pass.bits(rows([(sequence, 320..<330)])) == Array(expected[320...]))
    }

    @Test func theTypeIsPartOfTheNumericsID() throws {
        let ids = try KVType.allCases.map { try Self.narrow($0, window: nil).pass().model.numericsID }
        #expect(Set(ids).count == ids.count)
    }
}
