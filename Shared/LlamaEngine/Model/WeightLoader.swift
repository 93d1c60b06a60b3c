import CKernels
import ModelFile

/// Moves tensors from the file into the arena.
struct WeightLoader {
    let file: GGUFFile
    let arena: WeightArena

    func matrix(_ plan: MatrixPlan) throws(ModelError) -> ck_matrix {
        let memory = try arena.take(plan.byteCount).assumingMemoryBound(to: UInt8.self)
        var matrix = ck_matrix()
        matrix.data = UnsafePointer(memory)
        matrix.panel_stride = plan.panelStride
        matrix.format = Int32(plan.format.rawValue)
        matrix.rows = Int32(plan.outputs)
        matrix.columns = Int32(plan.inputs)
        matrix.panels = Int32(plan.panels)
        withRows(of: plan) { bytes in
            ck_repack(
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(plan.source.rawValue), &matrix, memory)
        }
        // The resident size must not double.
        file.releasePages(of: plan.tensor)
        return matrix
    }

    /// The rows of a matrix in the order of its plan. A row is a whole number of blocks in every type, so reordering moves bytes.
    private func withRows(of plan: MatrixPlan, _ body: (UnsafeRawBufferPointer) -> Void) {
        file.withBytes(of: plan.tensor) { bytes in
            guard let order = plan.order else { return body(bytes) }
            let rowBytes = bytes.count / plan.outputs
            let ordered = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 64)
            defer { ordered.deallocate() }
            for row in 0..<plan.outputs {
                let from = order.source(of: row) * rowBytes
                UnsafeMutableRawBufferPointer(rebasing: ordered[row * rowBytes..<(row + 1) * rowBytes])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[from..<from + rowBytes]))
            }
            body(UnsafeRawBufferPointer(ordered))
        }
    }

    /// A vector in F32 and in the order of its plan, zero from its end to the end of the last panel.
    func vector(_ plan: VectorPlan) throws(ModelError) -> UnsafePointer<Float> {
        let memory = try arena.take(plan.byteCount).bindMemory(to: Float.self, capacity: plan.byteCount / 4)
        let values = self.values(plan)
        for index in 0..<plan.byteCount / 4 {
            memory[index] = index < plan.count ? values[plan.order?.source(of: index) ?? index] : 0
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
        file.withBytes(of: plan.tensor) { bytes in
            (0..<plan.count).map { index in
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
