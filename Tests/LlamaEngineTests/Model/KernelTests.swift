import CKernels
import ModelFile
import Testing

@testable import LlamaEngine

/// The kernels one by one: every variant against the scalar twin bit for bit, the twin against the contract written out in Swift.
@Suite struct KernelTests {
    static let others = KernelVariant.available.filter { $0 != .scalar }
    static let formats: [(TensorType, ck_format)] = [
        (.f32, CK_F32), (.f16, CK_F16), (.bf16, CK_BF16), (.q4_0, CK_Q4_0), (.q4_1, CK_Q4_1), (.q8_0, CK_Q8_0),
        (.q5_0, CK_Q5_0), (.q5_1, CK_Q5_1), (.iq4_NL, CK_IQ4_NL), (.q2_K, CK_Q2_K), (.q3_K, CK_Q3_K), (.q4_K, CK_Q4_K),
        (.q5_K, CK_Q5_K), (.q6_K, CK_Q6_K), (.iq4_XS, CK_IQ4_XS),
    ]

    static func kernels(_ variant: KernelVariant) throws -> ck_variant { try #require(variant.kernels).pointee }

    @Test(arguments: formats.indices) func tiles(_ index: Int) throws {
        let (type, format) = Self.formats[index]
        var generator = RandomNumbers(seed: UInt64(index) + 40)
        let shapes =
            type.blockSize == 256 ? [(16, 256), (5, 512), (33, 768)] : [(16, 32), (5, 64), (33, 96), (48, 576)]
        for (outputs, inputs) in shapes {
            let source = GGUFBlocks.random(type, count: outputs * inputs, scale: 0.1, using: &generator)
            let matrix = try PanelMatrix(source, format, outputs: outputs, inputs: inputs)
            let x = Activations(generator.floats(8 * inputs, scale: 3), rows: 8, columns: inputs)
            let exact = GGUFBlocks.decode(source, type, count: outputs * inputs)
            for first in 0..<8 {
                for rows in 1...(8 - first) {
                    for panel in 0..<(outputs + 15) / 16 {
                        let twin = try x.multiply(matrix, panel: panel, first: first, rows: rows, .scalar)
                        for variant in Self.others {
                            let y = try x.multiply(matrix, panel: panel, first: first, rows: rows, variant)
                            #expect(y == twin, "\(variant) \(type) \(outputs)x\(inputs) row \(first) of \(rows)")
                        }
                        // The exact values once; the rest by bits.
                        guard first == 0, rows == 8 else { continue }
                        for row in 0..<rows {
                            for lane in 0..<16 where panel * 16 + lane < outputs {
                                let weights = exact[(panel * 16 + lane) * inputs..<(panel * 16 + lane + 1) * inputs]
                                let expected = zip(
                                    weights, x.decoded(first + row, quantised: format.rawValue > CK_BF16.rawValue)
                                )
                                .reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
                                let got = Double(Float(bitPattern: twin[row * 16 + lane]))
                                #expect(
                                    abs(got - expected) < 2e-5 * Double(inputs).squareRoot(),
                                    "\(type) row \(row) lane \(lane)")
                            }
                        }
                    }
                }
            }
        }
    }

    /// f = fma(d * da, isum, f); f = fma(m, sa, f), blocks ascending.
    @Test func aQuantisedTileFollowsTheContract() throws {
        var generator = RandomNumbers(seed: 4)
        let inputs = 160
        let source = GGUFBlocks.random(.q4_1, count: 16 * inputs, scale: 0.2, using: &generator)
        let matrix = try PanelMatrix(source, CK_Q4_1, outputs: 16, inputs: inputs)
        let x = Activations(generator.floats(8 * inputs), rows: 8, columns: inputs)
        let y = try x.multiply(matrix, panel: 0, first: 0, rows: 8, .scalar)
        for row in 0..<8 {
            for lane in 0..<16 {
                var f: Float = 0
                for block in 0..<inputs / 32 {
                    let at = (lane * (inputs / 32) + block) * 20, group = x.groups[block]
                    func half(_ at: Int) -> Float {
                        Float(Float16(bitPattern: UInt16(source[at]) | UInt16(source[at + 1]) << 8))
                    }
                    let quants = x.quants(row, block)
                    let sum = (0..<32).reduce(0) { total, k in
                        let byte = source[at + 4 + k % 16]
                        return total + Int(k < 16 ? byte & 15 : byte >> 4) * quants[k]
                    }
                    let da = withUnsafeBytes(of: group.d) { $0.load(fromByteOffset: row * 4, as: Float.self) }
                    f.addProduct(half(at) * da, Float(sum))
                    f.addProduct(half(at + 2), da * Float(quants.reduce(0, +)))
                }
                #expect(y[row * 16 + lane] == f.bitPattern)
            }
        }
    }

    /// The same for super-blocks: each scale times d, two sums where 16 columns share a scale.
    @Test(arguments: [TensorType.q4_K, .q6_K, .q2_K]) func aTileOfSuperBlocksFollowsTheContract(_ type: TensorType)
        throws
    {
        var generator = RandomNumbers(seed: 5)
        let inputs = 512, format = try #require(WeightPlan.format(type))
        let source = GGUFBlocks.random(type, count: 16 * inputs, scale: 0.2, using: &generator)
        let matrix = try PanelMatrix(source, format, outputs: 16, inputs: inputs)
        let x = Activations(generator.floats(8 * inputs), rows: 8, columns: inputs)
        let y = try x.multiply(matrix, panel: 0, first: 0, rows: 8, .scalar)
        for lane in 0..<16 {
            let blocks = (0..<inputs / 256).map { superBlock in
                let at = (lane * (inputs / 256) + superBlock) * type.bytesPerBlock
                return SuperBlock(Array(source[at..<at + type.bytesPerBlock]), type)
            }
            for row in 0..<8 {
                var f: Float = 0
                for block in 0..<inputs / 32 {
                    let weights = blocks[block / 8], at = block % 8 * 32, q = x.quants(row, block)
                    let da = withUnsafeBytes(of: x.groups[block].d) { $0.load(fromByteOffset: row * 4, as: Float.self) }
                    func sum(_ range: Range<Int>) -> Float {
                        Float(range.reduce(0) { $0 + weights.quants[at + $1] * q[$1] })
                    }
                    if type == .q4_K {
                        f.addProduct(weights.scale(at) * da, sum(0..<32))
                        f.addProduct(-weights.minimum(at), da * Float(q.reduce(0, +)))
                    } else {
                        var t = weights.scale(at) * sum(0..<16)
                        t.addProduct(weights.scale(at + 16), sum(16..<32))
                        if type == .q2_K {
                            t.addProduct(weights.minimum(at) / 32, Float(-32 * q[..<16].reduce(0, +)))
                            t.addProduct(weights.minimum(at + 16) / 32, Float(-32 * q[16...].reduce(0, +)))
                        }
                        f.addProduct(da, t)
                    }
                }
                #expect(y[row * 16 + lane] == f.bitPattern, "\(type) row \(row) lane \(lane)")
            }
        }
    }

    @Test func quantising() throws {
        var generator = RandomNumbers(seed: 6)
        var rows = (0..<7).map { generator.floats(128, scale: [1, 100, 1e-6, 1e30, 1e-33, 3, 0][$0]) }
        rows[5][40] = .nan
        rows[5][70] = -.infinity
        rows.append((0..<128).map { Float($0 % 2 == 0 ? 127 : -126.5) })
        let twin = Activations(rows.flatMap { $0 }, rows: 8, columns: 128)
        for variant in Self.others {
            let other = Activations(rows.flatMap { $0 }, rows: 8, columns: 128, variant)
            for block in 0..<4 {
                let a = withUnsafeBytes(of: twin.groups[block]) { Array($0) }
                #expect(a == withUnsafeBytes(of: other.groups[block]) { Array($0) }, "\(variant)")
            }
        }
        for (row, values) in rows.enumerated() where row != 5 {
            for (k, value) in values.enumerated() {
                let largest = values[k / 32 * 32..<k / 32 * 32 + 32].map(abs).max() ?? 0
                let error = abs(twin.decoded(row, quantised: true)[k] - value)
                #expect(error <= (largest < 1e-30 ? 1e-30 : largest / 127 * 0.5001))
            }
        }
        // A number that is none shows in its block and in no other.
        let poisoned = twin.decoded(5, quantised: true)
        #expect(poisoned[0..<32].allSatisfy { $0.isFinite } && poisoned[32..<64].allSatisfy { $0.isNaN })
        #expect(poisoned[64..<96].allSatisfy { $0.isNaN } && poisoned[96...].allSatisfy { $0.isFinite })
    }
}
