import CKernels
import Dispatch
import ModelFile

/// Gives every tensor its place in the arena, in the order in which a step reads them, then fills the places on all cores.
struct WeightLoader {
    let source: any TensorSource
    let arena: WeightArena
    private var pieces: [Piece] = []

    /// Some panels of a matrix.
    ///
    /// `@unchecked Sendable`: no two pieces share a byte of their destinations.
    private struct Piece: @unchecked Sendable {
        var plan: MatrixPlan
        /// Of the plan's outputs.
        var rows: Range<Int>
        var matrix: ck_matrix
        var destination: UnsafeMutablePointer<UInt8>
    }

    /// Bytes of the arena that one thread fills at a time.
    private static let pieceBytes = 2 << 20

    init(source: any TensorSource, arena: WeightArena) {
        self.source = source
        self.arena = arena
    }

    /// A matrix whose panels lie one after the other. Its contents come with ``fill()``.
    mutating func matrix(_ plan: MatrixPlan) throws(ModelError) -> ck_matrix {
        place(plan, at: try arena.take(plan.byteCount), stride: plan.panelStride)
    }

    /// Two matrices that are multiplied side by side, panel by panel in turn: a thread reads both as one stream.
    mutating func interleaved(_ a: MatrixPlan, _ b: MatrixPlan) throws(ModelError) -> (ck_matrix, ck_matrix) {
        guard a.panels == b.panels, a.format != CK_F32_ROWS, b.format != CK_F32_ROWS else {
            return (try matrix(a), try matrix(b))
        }
        let memory = try arena.take(a.byteCount + b.byteCount), stride = a.panelStride + b.panelStride
        return (place(a, at: memory, stride: stride), place(b, at: memory + a.panelStride, stride: stride))
    }

    private mutating func place(_ plan: MatrixPlan, at memory: UnsafeMutableRawPointer, stride: Int) -> ck_matrix {
        var matrix = ck_matrix()
        matrix.panel_stride = stride
        matrix.format = Int32(plan.format.rawValue)
        matrix.columns = Int32(plan.inputs)
        // AWQ's files have the columns outermost: every panel has a part of every page.
        let perPiece = plan.awq == nil ? max(1, Self.pieceBytes / stride) : plan.panels
        for first in Swift.stride(from: 0, to: plan.panels, by: perPiece) {
            let end = min(first + perPiece, plan.panels), rows = first * 16..<min(end * 16, plan.outputs)
            matrix.rows = Int32(rows.count)
            matrix.panels = Int32(end - first)
            let destination = (memory + first * stride).assumingMemoryBound(to: UInt8.self)
            pieces.append(Piece(plan: plan, rows: rows, matrix: matrix, destination: destination))
        }
        matrix.data = UnsafePointer(memory.assumingMemoryBound(to: UInt8.self))
        matrix.rows = Int32(plan.outputs)
        matrix.panels = Int32(plan.panels)
        return matrix
    }

    /// Repacks every matrix and releases its pages of the file.
    func fill() {
        DispatchQueue.concurrentPerform(iterations: pieces.count) { [pieces, source] index in
            var piece = pieces[index]
            if let awq = piece.plan.awq {
                awq.repack(piece.plan, &piece.matrix, piece.destination, from: source)
                return
            }
            Self.withRows(piece.rows, of: piece.plan, in: source) { bytes in
                ck_repack(
                    bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(piece.plan.source.rawValue),
                    &piece.matrix, piece.destination)
            }
            // The resident size must not double. Another piece of the tensor may lose pages that it still reads: they come back.
            source.releasePages(of: piece.plan.tensor)
        }
    }

    /// Rows of a matrix in the order of its plan. A row is a whole number of blocks in every type, so reordering moves bytes; a row
    /// of zero bytes is one of zeros in every type.
    private static func withRows(
        _ rows: Range<Int>, of plan: MatrixPlan, in source: any TensorSource, _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        source.withBytes(of: plan.tensor) { bytes in
            let rowBytes = bytes.count / plan.fileRows
            guard let order = plan.order else {
                return UnsafeRawBufferPointer(
                    rebasing: bytes[rows.lowerBound * rowBytes..<rows.upperBound * rowBytes]
                ).aligned(for: plan.tensor.type, body)
            }
            let ordered = UnsafeMutableRawBufferPointer.allocate(byteCount: rows.count * rowBytes, alignment: 64)
            defer { ordered.deallocate() }
            for (index, row) in rows.enumerated() {
                let place = UnsafeMutableRawBufferPointer(rebasing: ordered[index * rowBytes..<(index + 1) * rowBytes])
                guard let source = order.source(of: row) else {
                    place.initializeMemory(as: UInt8.self, repeating: 0)
                    continue
                }
                let from = source * rowBytes
                place.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[from..<from + rowBytes]))
            }
            body(UnsafeRawBufferPointer(ordered))
        }
    }

    /// A vector in F32 and in the order of its plan, zero from its end to the end of the last panel.
    func vector(_ plan: VectorPlan) throws(ModelError) -> UnsafePointer<Float> {
        let memory = try arena.take(plan.byteCount).bindMemory(to: Float.self, capacity: plan.byteCount / 4)
        let values = self.values(plan)
        for index in 0..<plan.byteCount / 4 {
            let source = plan.order.map { $0.source(of: index) } ?? index
            memory[index] = index < plan.count ? source.map { values[$0] } ?? 0 : 0
        }
        return UnsafePointer(memory)
    }

    func vector(_ plan: VectorPlan?) throws(ModelError) -> UnsafePointer<Float>? {
        guard let plan else { return nil }
        return try vector(plan) as UnsafePointer<Float>
    }

    /// The divisors of `rope_freqs.weight`, each a positive number.
    func factors(_ plan: VectorPlan) throws(ModelError) -> [Float] {
        let factors = values(plan)
        guard factors.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw ModelError(
                field: "tensor '\(plan.tensor.name)'", reason: "has a factor that is not a positive number")
        }
        return factors
    }

    private func values(_ plan: VectorPlan) -> [Float] {
        source.withBytes(of: plan.tensor) { bytes in
            (0..<plan.tensor.elementCount).map { index in
                switch plan.tensor.type {
                case .f16: Float(Float16(bitPattern: bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
                case .bf16:
                    Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)) << 16)
                default: bytes.loadUnaligned(fromByteOffset: 4 * index, as: Float.self)
                }
            }
        }
    }
}

extension WeightPlan {
    /// A tensor that is no full-precision matrix.
    var firstQuantised: Tensor? {
        let matrices =
            [tokenEmbedding] + (output.map { [$0] } ?? [])
            + layers.flatMap { layer in layer.operations.joined().map { layer[keyPath: $0] } }
        return matrices.first { !$0.isFullPrecision }?.tensor
    }
}
