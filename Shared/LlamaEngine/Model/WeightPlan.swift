import CKernels
import ModelFile

/// A matrix of the model before it is repacked: checked, and with the format that the kernels will use.
struct MatrixPlan {
    var tensor: Tensor
    /// The file's type, as the kernels name it.
    var source: ck_format
    /// What it is repacked to.
    var format: ck_format
    var outputs: Int
    var inputs: Int

    var panels: Int { (outputs + 15) / 16 }
    var panelStride: Int { ck_panel_bytes(Int32(format.rawValue), Int32(inputs)) }
    var byteCount: Int { panels * panelStride }
    var isFullPrecision: Bool { source.rawValue <= CK_BF16.rawValue }
}

/// Every tensor of a Llama model: present, of the right shape and of a type that we run.
struct WeightPlan {
    struct Layer {
        var attentionNorm: Tensor
        var query, key, value, attentionOutput: MatrixPlan
        var feedForwardNorm: Tensor
        var gate, up, down: MatrixPlan

        /// Matrices that are multiplied by one operation.
        var operations: [[WritableKeyPath<Layer, MatrixPlan>]] {
            [[\.query, \.key, \.value], [\.attentionOutput], [\.gate, \.up], [\.down]]
        }
    }

    var tokenEmbedding: MatrixPlan
    var layers: [Layer]
    var outputNorm: Tensor
    /// nil: tied to the token embedding.
    var output: MatrixPlan?
    var ropeFactors: Tensor?

    init(file: GGUFFile, configuration c: LlamaConfiguration) throws(ModelError) {
        func vector(_ name: String, _ count: Int) throws(ModelError) -> Tensor {
            let tensor = try Self.tensor(name, [count], in: file)
            guard tensor.type == .f32 else {
                throw ModelError(
                    field: "tensor '\(name)' type", reason: "\(tensor.type) is not supported here; only f32 is")
            }
            return tensor
        }
        func matrix(_ name: String, _ inputs: Int, _ outputs: Int) throws(ModelError) -> MatrixPlan {
            let tensor = try Self.tensor(name, [inputs, outputs], in: file)
            guard let format = Self.format(tensor.type) else {
                throw ModelError(field: "tensor '\(name)' type", reason: "\(tensor.type) is not supported")
            }
            return MatrixPlan(tensor: tensor, source: format, format: format, outputs: outputs, inputs: inputs)
        }
        let queries = c.heads * c.headSize, keys = c.kvHeads * c.headSize
        tokenEmbedding = try matrix("token_embd.weight", c.embedding, c.vocabulary)
        layers = []
        for index in 0..<c.layers {
            let block = "blk.\(index)."
            for unsupported in ["attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias", "attn_q_norm.weight"]
            where file.tensors[block + unsupported] != nil {
                throw ModelError(field: "tensor '\(block)\(unsupported)'", reason: "is not supported")
            }
            layers.append(
                Layer(
                    attentionNorm: try vector(block + "attn_norm.weight", c.embedding),
                    query: try matrix(block + "attn_q.weight", c.embedding, queries),
                    key: try matrix(block + "attn_k.weight", c.embedding, keys),
                    value: try matrix(block + "attn_v.weight", c.embedding, keys),
                    attentionOutput: try matrix(block + "attn_output.weight", queries, c.embedding),
                    feedForwardNorm: try vector(block + "ffn_norm.weight", c.embedding),
                    gate: try matrix(block + "ffn_gate.weight", c.embedding, c.feedForward),
                    up: try matrix(block + "ffn_up.weight", c.embedding, c.feedForward),
                    down: try matrix(block + "ffn_down.weight", c.feedForward, c.embedding)))
        }
        outputNorm = try vector("output_norm.weight", c.embedding)
        output = c.tiedOutput ? nil : try matrix("output.weight", c.embedding, c.vocabulary)
        ropeFactors =
            file.tensors["rope_freqs.weight"] == nil ? nil : try vector("rope_freqs.weight", c.ropeDimensions / 2)
    }

    /// Bytes of the arena that holds all of it.
    var byteCount: Int {
        let matrices = layers.flatMap { layer in layer.operations.flatMap { $0.map { layer[keyPath: $0].byteCount } } }
        let norms = layers.flatMap { [$0.attentionNorm, $0.feedForwardNorm] } + [outputNorm]
        return (matrices + [tokenEmbedding.byteCount, output?.byteCount ?? 0] + norms.map(\.byteCount))
            .reduce(0) { $0 + WeightArena.aligned($1) }
    }

    private static func tensor(_ name: String, _ dimensions: [Int], in file: GGUFFile) throws(ModelError) -> Tensor {
        guard let tensor = file.tensors[name] else { throw ModelError(field: "tensor '\(name)'", reason: "is missing") }
        var shape = tensor.dimensions
        while shape.count > dimensions.count, shape.last == 1 { shape.removeLast() }
        guard shape == dimensions else {
            throw ModelError(
                field: "tensor '\(name)' dimensions",
                reason: "\(tensor.dimensions) where the hyperparameters ask for \(dimensions)")
        }
        return tensor
    }

    private static func format(_ type: TensorType) -> ck_format? {
        switch type {
        case .f32: CK_F32
        case .f16: CK_F16
        case .bf16: CK_BF16
        case .q4_0: CK_Q4_0
        case .q4_1: CK_Q4_1
        case .q8_0: CK_Q8_0
        default: nil
        }
    }
}
