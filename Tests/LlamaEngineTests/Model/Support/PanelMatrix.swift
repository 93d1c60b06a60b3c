import CKernels
import Testing

@testable import LlamaEngine

/// A repacked matrix that owns its memory.
final class PanelMatrix {
    private(set) var matrix = ck_matrix()
    private let memory: UnsafeMutableRawPointer

    convenience init(_ source: [UInt8], _ format: ck_format, outputs: Int, inputs: Int) throws {
        try self.init(format, outputs: outputs, inputs: inputs) { matrix, memory in
            ck_repack(source, Int32(format.rawValue), &matrix, memory)
        }
    }

    init(
        _ format: ck_format, outputs: Int, inputs: Int,
        repack: (inout ck_matrix, UnsafeMutablePointer<UInt8>) throws -> Void
    ) throws {
        let stride = ck_panel_bytes(Int32(format.rawValue), Int32(inputs)), panels = (outputs + 15) / 16
        memory = .allocate(byteCount: stride * panels, alignment: 64)
        // Repacking must write every byte that a kernel reads.
        memory.initializeMemory(as: UInt8.self, repeating: 0xa5, count: stride * panels)
        matrix.data = UnsafePointer(memory.assumingMemoryBound(to: UInt8.self))
        matrix.panel_stride = stride
        matrix.format = Int32(format.rawValue)
        matrix.rows = Int32(outputs)
        matrix.columns = Int32(inputs)
        matrix.panels = Int32(panels)
        try repack(&matrix, memory.assumingMemoryBound(to: UInt8.self))
    }

    deinit { memory.deallocate() }

    /// A row in full precision.
    func row(_ index: Int) -> [Float] {
        var out = [Float](repeating: .nan, count: Int(matrix.columns))
        ck_gather(&matrix, Int32(index), &out)
        return out
    }
}

/// Eight rows of activations in both forms.
final class Activations {
    let rows: [Float]
    let columns: Int
    private(set) var groups: [ck_group]

    init(_ values: [Float], rows count: Int, columns: Int, _ variant: KernelVariant = .scalar) {
        rows = values
        self.columns = columns
        groups = .init(repeating: ck_group(), count: columns / 32)
        groups.withUnsafeMutableBufferPointer { groups in
            var activation = ck_activation(groups: groups.baseAddress, rows: nil, columns: Int32(columns))
            for row in 0..<count {
                variant.kernels?.pointee.quantize(
                    Array(values[row * columns..<(row + 1) * columns]), Int32(columns), Int32(row), &activation)
            }
        }
    }

    func quants(_ row: Int, _ block: Int) -> [Int] {
        withUnsafeBytes(of: groups[block].q) { bytes in
            (0..<32).map { Int(bytes.load(fromByteOffset: row * 32 + $0, as: Int8.self)) }
        }
    }

    /// What the row stands for.
    func decoded(_ row: Int, quantised: Bool) -> [Float] {
        guard quantised else { return Array(rows[row * columns..<(row + 1) * columns]) }
        return (0..<columns / 32).flatMap { block in
            let d = withUnsafeBytes(of: groups[block].d) { $0.load(fromByteOffset: row * 4, as: Float.self) }
            return quants(row, block).map { Float($0) * d }
        }
    }

    /// The bits of `[rows][16]`.
    func multiply(_ matrix: PanelMatrix, panel: Int, first: Int, rows count: Int, _ variant: KernelVariant) throws
        -> [UInt32]
    {
        let kernels = try #require(variant.kernels).pointee
        var y = [Float](repeating: 0, count: 128), m = matrix.matrix, x = rows
        x.withUnsafeMutableBufferPointer { x in
            groups.withUnsafeMutableBufferPointer { groups in
                var activation = ck_activation(groups: groups.baseAddress, rows: x.baseAddress, columns: Int32(columns))
                kernels.tile(&m, Int32(panel), &activation, Int32(first), Int32(count), &y)
            }
        }
        return y[..<(count * 16)].map(\.bitPattern)
    }
}
