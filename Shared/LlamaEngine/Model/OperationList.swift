import CKernels

/// The model as the kernels run it; reads in the order of the computation.
enum OperationList {
    static func make(model: LlamaModel, memory: StepMemory) -> [ck_op] {
        var list = [operation(CK_OP_EMBED)]
        for (index, layer) in model.layers.enumerated() {
            let qkv = [layer.query, layer.key, layer.value]
            let normed = forms(memory.normed, for: qkv)
            list.append(operation(CK_OP_NORM, weight: layer.attentionNorm, output: normed))
            list.append(
                operation(
                    CK_OP_QKV, layer: index, matrices: qkv, biases: [layer.queryBias, layer.keyBias, layer.valueBias],
                    input: normed))
            if let norm = layer.queryNorm {
                list.append(operation(CK_OP_QK_NORM, layer: index, weight: norm, keyWeight: layer.keyNorm))
            }

            if model.options.kvType == .q8 { list.append(operation(CK_OP_STORE_KV, layer: index)) }

            // Attention needs the F32 rows as its own workspace, whatever its consumer wants.
            var attended = forms(memory.attended, for: [layer.attentionOutput])
            attended.rows = memory.attended.rows
            list.append(operation(CK_OP_ATTENTION, layer: index, output: memory.padded ?? attended))
            list.append(operation(CK_OP_MERGE, output: memory.padded ?? attended))
            if let padded = memory.padded { list.append(operation(CK_OP_COMPACT, input: padded, output: attended)) }
            if attended.groups != nil, model.configuration.headSize % Int(CK_BLOCK) != 0 {
                list.append(operation(CK_OP_QUANTIZE, output: attended))
            }
            list.append(
                operation(
                    CK_OP_PROJECT, matrices: [layer.attentionOutput], biases: [layer.attentionOutputBias],
                    input: attended))

            let gateUp = [layer.gate, layer.up]
            let fed = forms(memory.normed, for: gateUp), hidden = forms(memory.hidden, for: [layer.down])
            list.append(operation(CK_OP_NORM, weight: layer.feedForwardNorm, output: fed))
            list.append(
                operation(
                    CK_OP_SWIGLU, matrices: gateUp, biases: [layer.gateBias, layer.upBias], input: fed, output: hidden))
            list.append(operation(CK_OP_PROJECT, matrices: [layer.down], biases: [layer.downBias], input: hidden))
        }
        let last = forms(memory.normed, for: [model.output])
        list.append(operation(CK_OP_OUT_NORM, weight: model.outputNorm, output: last))
        list.append(operation(CK_OP_LOGITS, matrices: [model.output], biases: [model.outputBias], input: last))
        return list
    }

    /// Quantised matrices read quantised groups, full-precision ones F32 rows.
    private static func forms(_ activation: ck_activation, for matrices: [ck_matrix]) -> ck_activation {
        var result = activation
        let isFull = { (matrix: ck_matrix) in
            matrix.format <= Int32(CK_BF16.rawValue) || matrix.format == Int32(CK_F32_ROWS.rawValue)
        }
        if matrices.allSatisfy(isFull) { result.groups = nil }
        if !matrices.contains(where: isFull) { result.rows = nil }
        return result
    }

    private static func operation(
        _ kind: ck_op_kind, layer: Int = 0, weight: UnsafePointer<Float>? = nil,
        keyWeight: UnsafePointer<Float>? = nil, matrices: [ck_matrix] = [], biases: [UnsafePointer<Float>?] = [],
        input: ck_activation = ck_activation(), output: ck_activation = ck_activation()
    ) -> ck_op {
        var op = ck_op()
        op.kind = Int32(kind.rawValue)
        op.layer = Int32(layer)
        op.weight = weight
        op.key_weight = keyWeight
        op.matrix_count = Int32(matrices.count)
        if !matrices.isEmpty { op.matrix.0 = matrices[0] }
        if matrices.count > 1 { op.matrix.1 = matrices[1] }
        if matrices.count > 2 { op.matrix.2 = matrices[2] }
        if let bias = biases.first { op.bias.0 = bias }
        if biases.count > 1 { op.bias.1 = biases[1] }
        if biases.count > 2 { op.bias.2 = biases[2] }
        op.input = input
        op.output = output
        return op
    }
}
