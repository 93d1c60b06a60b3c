import CKernels
import ModelFile

/// A matrix of the model before it is repacked: checked, and with the format that the kernels will use.
struct MatrixPlan {
    /// Its weights; the quants where they are AWQ's.
    var tensor: Tensor
    /// What belongs to AWQ's quants, nil for a matrix that is one tensor.
    var awq: AWQParameters?
    /// The file's type, as the kernels name it.
    var source: ck_format
    /// What it is repacked to.
    var format: ck_format
    /// Rows as the kernels have them.
    var outputs: Int
    var inputs: Int
    /// How its rows are read, nil for the file's own.
    var order: HeadLayout?

    /// Rows in the file.
    var fileRows: Int { order?.fileRows(ofRows: outputs) ?? outputs }
    var panels: Int { (outputs + 15) / 16 }
    var panelStride: Int { ck_panel_bytes(Int32(format.rawValue), Int32(inputs)) }
    var byteCount: Int { panels * panelStride }
    var isFullPrecision: Bool { source.rawValue <= CK_BF16.rawValue }
}

/// A vector that is kept in F32: a norm's weights or a bias.
struct VectorPlan {
    var tensor: Tensor
    /// Elements as the kernels have them.
    var count: Int
    /// How its elements are read, nil for the file's own.
    var order: HeadLayout?

    /// Padded to whole panels, since biases are read by panels.
    var byteCount: Int { (count + 15) / 16 * 64 }
}

/// Every tensor of a model: present, of the right shape and of a type that we run; and no other.
struct WeightPlan {
    struct Layer {
        var attentionNorm: VectorPlan
        var query, key, value, attentionOutput: MatrixPlan
        var queryBias, keyBias, valueBias, attentionOutputBias: VectorPlan?
        /// Norms of each head, `[headSize]`.
        var queryNorm, keyNorm: VectorPlan?
        var feedForwardNorm: VectorPlan
        var gate, up, down: MatrixPlan
        var gateBias, upBias, downBias: VectorPlan?

        /// Matrices that are multiplied by one operation.
        var operations: [[WritableKeyPath<Layer, MatrixPlan>]] {
            [[\.query, \.key, \.value], [\.attentionOutput], [\.gate, \.up], [\.down]]
        }

        var vectors: [VectorPlan] {
            [attentionNorm, feedForwardNorm]
                + [
                    queryBias, keyBias, valueBias, attentionOutputBias, queryNorm, keyNorm, gateBias, upBias, downBias,
                ].compactMap { $0 }
        }
    }

    var tokenEmbedding: MatrixPlan
    var layers: [Layer]
    var outputNorm: VectorPlan
    /// nil: tied to the token embedding.
    var output: MatrixPlan?
    var outputBias: VectorPlan?
    var ropeFactors: VectorPlan?

    init(source: any TensorSource, configuration c: LlamaConfiguration) throws(ModelError) {
        var used: Set<String> = []
        func vector(_ name: String, _ count: Int, _ order: HeadLayout? = nil) throws(ModelError) -> VectorPlan {
            used.insert(name)
            let tensor = try Self.tensor(name, [count], in: source)
            guard [.f32, .f16, .bf16].contains(tensor.type) else {
                throw ModelError(
                    field: "tensor '\(tensor.name)' type",
                    reason: "\(tensor.type) is not supported here; f32, f16 and bf16 are")
            }
            return VectorPlan(tensor: tensor, count: order?.rows(ofFileRows: count) ?? count, order: order)
        }
        func bias(
            _ name: String, _ count: Int, _ order: HeadLayout? = nil, required: Bool = false
        ) throws(ModelError) -> VectorPlan? {
            required || source.tensors[name] != nil ? try vector(name, count, order) : nil
        }
        func matrix(
            _ name: String, _ inputs: Int, _ outputs: Int, _ order: HeadLayout? = nil
        ) throws(ModelError) -> MatrixPlan {
            if let plan = try Self.awqMatrix(name, inputs, outputs, order, in: source, &used) { return plan }
            used.insert(name)
            let tensor = try Self.tensor(name, [inputs, outputs], in: source)
            guard let format = Self.format(tensor.type) else {
                throw ModelError(field: "tensor '\(tensor.name)' type", reason: "\(tensor.type) is not supported")
            }
            return MatrixPlan(
                tensor: tensor, source: format, format: format,
                outputs: order?.rows(ofFileRows: outputs) ?? outputs, inputs: inputs, order: order)
        }
        let queries = c.heads * c.headSize, keys = c.kvHeads * c.headSize
        let order = HeadLayout(c, rotates: true), valueOrder = HeadLayout(c, rotates: false)
        let isQwen2 = c.architecture == .qwen2, isQwen3 = c.architecture == .qwen3
        tokenEmbedding = try matrix("token_embd.weight", c.embedding, c.vocabulary)
        layers = []
        for index in 0..<c.layers {
            let block = "blk.\(index)."
            layers.append(
                Layer(
                    attentionNorm: try vector(block + "attn_norm.weight", c.embedding),
                    query: try matrix(block + "attn_q.weight", c.embedding, queries, order),
                    key: try matrix(block + "attn_k.weight", c.embedding, keys, order),
                    value: try matrix(block + "attn_v.weight", c.embedding, keys, valueOrder),
                    attentionOutput: try matrix(block + "attn_output.weight", queries, c.embedding),
                    queryBias: try bias(block + "attn_q.bias", queries, order, required: isQwen2),
                    keyBias: try bias(block + "attn_k.bias", keys, order, required: isQwen2),
                    valueBias: try bias(block + "attn_v.bias", keys, valueOrder, required: isQwen2),
                    attentionOutputBias: try bias(block + "attn_output.bias", c.embedding),
                    queryNorm: isQwen3 ? try vector(block + "attn_q_norm.weight", c.headSize, order) : nil,
                    keyNorm: isQwen3 ? try vector(block + "attn_k_norm.weight", c.headSize, order) : nil,
                    feedForwardNorm: try vector(block + "ffn_norm.weight", c.embedding),
                    gate: try matrix(block + "ffn_gate.weight", c.embedding, c.feedForward),
                    up: try matrix(block + "ffn_up.weight", c.embedding, c.feedForward),
                    down: try matrix(block + "ffn_down.weight", c.feedForward, c.embedding),
                    gateBias: try bias(block + "ffn_gate.bias", c.feedForward),
                    upBias: try bias(block + "ffn_up.bias", c.feedForward),
                    downBias: try bias(block + "ffn_down.bias", c.embedding)))
        }
        outputNorm = try vector("output_norm.weight", c.embedding)
        // A folder may save the tied matrix a second time.
        if c.tiedOutput { used.insert("output.weight") }
        output = c.tiedOutput ? nil : try matrix("output.weight", c.embedding, c.vocabulary)
        outputBias = try bias("output.bias", c.vocabulary)
        ropeFactors = try bias("rope_freqs.weight", c.ropeDimensions / 2)
        // A tensor that nobody reads is a part of the model that we do not know: leaving it out would give wrong numbers.
        let present = Array(source.tensors.keys) + source.unusable.filter(\.value.mayHoldWeights).keys
        if let unknown = present.filter({ !used.contains($0) }).min() {
            throw ModelError(
                field: "tensor '\(source.ownName(of: unknown))'",
                reason: "is not supported in the architecture \(c.architecture.rawValue)")
        }
    }

    /// Bytes of the arena that holds all of it.
    var byteCount: Int {
        let matrices = layers.flatMap { layer in layer.operations.flatMap { $0.map { layer[keyPath: $0].byteCount } } }
        let vectors = layers.flatMap(\.vectors) + [outputNorm] + [outputBias].compactMap { $0 }
        return (matrices + [tokenEmbedding.byteCount, output?.byteCount ?? 0] + vectors.map(\.byteCount))
            .reduce(0) { $0 + WeightArena.aligned($1) }
    }

    static func tensor(_ name: String, _ dimensions: [Int], in source: any TensorSource) throws(ModelError)
        -> Tensor
    {
        guard let tensor = source.tensors[name] else {
            throw ModelError(
                field: "tensor '\(source.ownName(of: name))'", reason: source.unusable[name]?.reason ?? "is missing")
        }
        var shape = tensor.dimensions
        while shape.count > dimensions.count, shape.last == 1 { shape.removeLast() }
        guard shape == dimensions else {
            throw ModelError(
                field: "tensor '\(tensor.name)' dimensions",
                reason: "\(tensor.dimensions) where the hyperparameters ask for \(dimensions)")
        }
        return tensor
    }

    static func format(_ type: TensorType) -> ck_format? {
        switch type {
        case .f32: CK_F32
        case .f16: CK_F16
        case .bf16: CK_BF16
        case .q4_0: CK_Q4_0
        case .q4_1: CK_Q4_1
        case .q8_0: CK_Q8_0
        case .q5_0: CK_Q5_0
        case .q5_1: CK_Q5_1
        case .iq4_NL: CK_IQ4_NL
        case .q2_K: CK_Q2_K
        case .q3_K: CK_Q3_K
        case .q4_K: CK_Q4_K
        case .q5_K: CK_Q5_K
        case .q6_K: CK_Q6_K
        case .iq4_XS: CK_IQ4_XS
        default: nil
        }
    }
}
