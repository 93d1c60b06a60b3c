import ModelFile

/// A super-block of the file taken apart, written from the format's description (ggml-common.h) for the tests: Q4_K, Q6_K or Q2_K.
struct SuperBlock {
    /// 256, in units of their scale.
    var quants: [Int] = []
    private var d: Float = 0, dmin: Float = 0
    private var scales: [Int] = [], minimums: [Int] = []

    init(_ bytes: [UInt8], _ type: TensorType) {
        func half(_ at: Int) -> Float { Float(Float16(bitPattern: UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8)) }
        func bits(_ at: Int, _ from: Int, _ count: Int) -> Int { Int(bytes[at]) >> from & ((1 << count) - 1) }
        switch type {
        case .q4_K:
            (d, dmin) = (half(0), half(2))
            scales = (0..<8).map { $0 < 4 ? bits(4 + $0, 0, 6) : bits(8 + $0, 0, 4) | bits($0, 6, 2) << 4 }
            minimums = (0..<8).map { $0 < 4 ? bits(8 + $0, 0, 6) : bits(8 + $0, 4, 4) | bits(4 + $0, 6, 2) << 4 }
            quants = (0..<256).map { bits(16 + $0 / 64 * 32 + $0 % 32, $0 % 64 / 32 * 4, 4) }
        case .q6_K:
            d = half(208)
            scales = (0..<16).map { Int(Int8(bitPattern: bytes[192 + $0])) }
            quants = (0..<256).map { k in
                let low = bits(k / 128 * 64 + k % 64, k % 128 / 64 * 4, 4)
                return low | bits(128 + k / 128 * 32 + k % 32, k % 128 / 32 * 2, 2) << 4
            }.map { $0 - 32 }
        default:
            (d, dmin) = (half(80), half(82))
            scales = (0..<16).map { bits($0, 0, 4) }
            minimums = (0..<16).map { bits($0, 4, 4) }
            quants = (0..<256).map { bits(16 + $0 / 128 * 32 + $0 % 32, $0 % 128 / 32 * 2, 2) }
        }
    }

    /// Of a column.
    func scale(_ column: Int) -> Float { d * Float(scales[column * scales.count / 256]) }
    func minimum(_ column: Int) -> Float { dmin * Float(minimums[column * minimums.count / 256]) }
}
