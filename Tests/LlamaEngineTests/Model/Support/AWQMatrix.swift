import CKernels
import ModelFile

@testable import LlamaEngine

/// A random matrix as whole numbers, packed as AutoAWQ's "gemm" checkpoints have it.
struct AWQMatrix {
    /// Which of eight outputs each nibble of a word holds, from the lowest.
    static let order = [0, 2, 4, 6, 1, 3, 5, 7]

    let inputs: Int, outputs: Int
    /// `[outputs][inputs]`.
    var quants: [Int]
    /// `[outputs][inputs / 128]`.
    var zeros: [Int], scales: [Float16]

    init(inputs: Int, outputs: Int, scale: Float, using generator: inout RandomNumbers) {
        (self.inputs, self.outputs) = (inputs, outputs)
        let groups = outputs * inputs / 128
        quants = (0..<outputs * inputs).map { _ in Int.random(in: 0...15, using: &generator) }
        zeros = (0..<groups).map { _ in Int.random(in: 0...15, using: &generator) }
        // Zero points all over make weights larger than those round a zero in the middle.
        scales = (0..<groups).map { _ in Float16(scale / 6.5 * Float.random(in: 0.5...1.5, using: &generator)) }
    }

    private func group(_ output: Int, _ input: Int) -> Int { output * (inputs / 128) + input / 128 }

    /// Quant minus zero.
    func level(_ output: Int, _ input: Int) -> Int { quants[output * inputs + input] - zeros[group(output, input)] }
    func scale(_ output: Int, _ input: Int) -> Float { Float(scales[group(output, input)]) }

    /// The weights, `[outputs][inputs]`.
    var values: [Float] {
        (0..<outputs * inputs).map { Float(level($0 / inputs, $0 % inputs)) * scale($0 / inputs, $0 % inputs) }
    }

    /// `numbers` gives row and output; the result is `[rows][outputs / 8]`.
    private func words(_ rows: Int, _ order: [Int], _ number: (Int, Int) -> Int) -> [UInt32] {
        (0..<rows * outputs / 8).map { index in
            let row = index / (outputs / 8), first = index % (outputs / 8) * 8
            return order.enumerated().reduce(UInt32(0)) {
                $0 | UInt32(number(row, first + $1.element)) << (4 * $1.offset)
            }
        }
    }

    func packedQuants(order: [Int] = order) -> [UInt32] { words(inputs, order) { quants[$1 * inputs + $0] } }
    func packedZeros(order: [Int] = order) -> [UInt32] {
        words(inputs / 128, order) { zeros[$1 * (inputs / 128) + $0] }
    }
    var packedScales: [UInt16] {
        (0..<inputs / 128).flatMap { g in (0..<outputs).map { scales[$0 * (inputs / 128) + g].bitPattern } }
    }
}

extension PanelMatrix {
    /// - Parameter order: the file's outputs in the order of the rows, all by default.
    convenience init(_ source: AWQMatrix, order: [Int32]? = nil) throws {
        let order = order ?? (0..<Int32(source.outputs)).map { $0 }
        try self.init(CK_AWQ, outputs: order.count, inputs: source.inputs) { matrix, memory in
            source.packedQuants().withUnsafeBufferPointer { quants in
                source.packedZeros().withUnsafeBufferPointer { zeros in
                    source.packedScales.withUnsafeBufferPointer { scales in
                        order.withUnsafeBufferPointer { order in
                            var awq = ck_awq(
                                quants: quants.baseAddress, zeros: zeros.baseAddress, scales: scales.baseAddress,
                                order: order.baseAddress, outputs: Int32(source.outputs))
                            ck_repack_awq(&awq, &matrix, memory)
                        }
                    }
                }
            }
        }
    }
}
