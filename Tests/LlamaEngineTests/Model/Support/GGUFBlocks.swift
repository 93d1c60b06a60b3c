import CKernels
import ModelFile

@testable import LlamaEngine

/// Random GGUF rows of any type that the engine runs.
enum GGUFBlocks {
    static func random(_ type: TensorType, count: Int, scale: Float, using generator: inout RandomNumbers) -> [UInt8] {
        var bytes: [UInt8] = []
        func half(_ value: Float) { bytes += littleEndian(Float16(value).bitPattern) }
        switch type {
        case .f32:
            for value in generator.floats(count, scale: scale) { bytes += littleEndian(value.bitPattern) }
        case .f16:
            for value in generator.floats(count, scale: scale) { half(value) }
        case .bf16:
            for value in generator.floats(count, scale: scale) { bytes += littleEndian(UInt16(value.bitPattern >> 16)) }
        case .q5_0, .q5_1, .iq4_NL, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_XS:
            for _ in 0..<count / type.blockSize {
                var block = (0..<type.bytesPerBlock).map { _ in UInt8.random(in: 0...255, using: &generator) }
                for half in Self.halves(type) {
                    let value = Float16(scale / half.levels * Float.random(in: 0.5...1.5, using: &generator))
                    block.replaceSubrange(half.at..<half.at + 2, with: littleEndian(value.bitPattern))
                }
                bytes += block
            }
        default:
            let quants = type == .q8_0 ? 32 : 16, levels: Float = type == .q8_0 ? 74 : 4.6
            for _ in 0..<count / 32 {
                half(scale / levels * Float.random(in: 0.5...1.5, using: &generator))
                if type == .q4_1 { half(-scale * Float.random(in: 1...2, using: &generator)) }
                // -128 is a legal 8-bit quant and the hard case for signed tricks.
                for _ in 0..<quants {
                    bytes.append(
                        Int.random(in: 0..<16, using: &generator) == 0
                            ? 0x80 : UInt8.random(in: 0...255, using: &generator))
                }
            }
        }
        return bytes
    }

    /// The F16 fields of a block, and how far a typical weight lies from zero in units of each.
    private static func halves(_ type: TensorType) -> [(at: Int, levels: Float)] {
        switch type {
        case .q5_0: [(0, 9)]
        case .q5_1: [(0, 9), (2, -0.6)]
        case .iq4_NL: [(0, 70)]
        case .q2_K: [(80, 12), (82, 8)]
        case .q3_K: [(108, 45)]
        case .q4_K: [(0, 150), (2, 20)]
        case .q5_K: [(0, 300), (2, 20)]
        case .q6_K: [(208, 1400)]
        default: [(0, 1300)]  // IQ4_XS
        }
    }

    /// The numbers that the rows stand for.
    static func decode(_ bytes: [UInt8], _ type: TensorType, count: Int) -> [Float] {
        func half(_ at: Int) -> Float { Float(Float16(bitPattern: UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8)) }
        if let format = WeightPlan.format(type), format.rawValue >= CK_Q5_0.rawValue {
            // The engine's own reading, which DequantisedFixtureTests holds to the reference.
            let columns = type.blockSize
            let matrix = try? PanelMatrix(bytes, format, outputs: count / columns, inputs: columns)
            return (0..<count / columns).flatMap { matrix?.row($0) ?? [] }
        }
        return (0..<count).map { index in
            let at = index / 32 * type.bytesPerBlock, k = index % 32
            switch type {
            case .f32:
                return Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[4 * index + $1]) << (8 * $1) })
            case .f16: return half(2 * index)
            case .bf16: return Float(bitPattern: UInt32(bytes[2 * index]) << 16 | UInt32(bytes[2 * index + 1]) << 24)
            case .q8_0: return half(at) * Float(Int8(bitPattern: bytes[at + 2 + k]))
            default:
                let byte = bytes[at + (type == .q4_1 ? 4 : 2) + k % 16], nibble = k < 16 ? byte & 15 : byte >> 4
                return type == .q4_0
                    ? half(at) * (Float(nibble) - 8) : half(at + 2).addingProduct(half(at), Float(nibble))
            }
        }
    }
}

func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
