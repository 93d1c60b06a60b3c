import CKernels

extension WeightPlan {
    var hasFullPrecisionMatrices: Bool {
        tokenEmbedding.isFullPrecision || output?.isFullPrecision == true
            || layers.contains { layer in layer.operations.joined().contains { layer[keyPath: $0].isFullPrecision } }
    }

    /// Stores full-precision matrices as a BLAS wants them, expanded to F32 rows. The matrices of one operation go together: where
    /// one of them is quantised, the others stay panels.
    mutating func useRows() {
        for index in layers.indices {
            for operation in layers[index].operations
            where operation.allSatisfy({ layers[index][keyPath: $0].isFullPrecision }) {
                for matrix in operation { layers[index][keyPath: matrix].format = CK_F32_ROWS }
            }
        }
        if tokenEmbedding.isFullPrecision { tokenEmbedding.format = CK_F32_ROWS }
        if output?.isFullPrecision == true { output?.format = CK_F32_ROWS }
    }

    /// The shapes in which the kernels call the BLAS once ``useRows()`` was applied: fixed pieces of each matrix.
    func blasShapes() -> Set<OpenBLASBackend.Shape> {
        var shapes: Set<OpenBLASBackend.Shape> = []
        func add(_ matrix: MatrixPlan, piece: Int) {
            guard matrix.format == CK_F32_ROWS else { return }
            if matrix.outputs >= piece { shapes.insert(.init(outputs: piece, inputs: matrix.inputs)) }
            if matrix.outputs % piece != 0 {
                shapes.insert(.init(outputs: matrix.outputs % piece, inputs: matrix.inputs))
            }
        }
        let piece = Int(CK_BLAS_PANELS) * 16, pair = Int(CK_BLAS_SWIGLU_PANELS) * 16
        for layer in layers {
            for matrix in [layer.query, layer.key, layer.value, layer.attentionOutput, layer.down] {
                add(matrix, piece: piece)
            }
            for matrix in [layer.gate, layer.up] { add(matrix, piece: pair) }
        }
        add(output ?? tokenEmbedding, piece: piece)
        return shapes
    }
}
