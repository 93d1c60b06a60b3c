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
        file.withBytes(of: plan.tensor) { bytes in
            ck_repack(
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(plan.source.rawValue), &matrix, memory)
        }
        // The resident size must not double.
        file.releasePages(of: plan.tensor)
        return matrix
    }

    func vector(_ tensor: Tensor) throws(ModelError) -> UnsafePointer<Float> {
        let memory = try arena.take(tensor.byteCount)
        file.withBytes(of: tensor) { bytes in
            if let source = bytes.baseAddress { memory.copyMemory(from: source, byteCount: bytes.count) }
        }
        return UnsafePointer(memory.assumingMemoryBound(to: Float.self))
    }

    /// The divisors of `rope_freqs.weight`, each a positive number.
    func factors(_ tensor: Tensor) throws(ModelError) -> [Float] {
        let factors = file.withBytes(of: tensor) { bytes in
            stride(from: 0, to: bytes.count, by: 4).map { bytes.loadUnaligned(fromByteOffset: $0, as: Float.self) }
        }
        guard factors.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw ModelError(field: "tensor '\(tensor.name)'", reason: "has a factor that is not a positive number")
        }
        return factors
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
