import ModelFile

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

    /// The numbers that the rows stand for.
    static func decode(_ bytes: [UInt8], _ type: TensorType, count: Int) -> [Float] {
        func half(_ at: Int) -> Float { Float(Float16(bitPattern: UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8)) }
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
