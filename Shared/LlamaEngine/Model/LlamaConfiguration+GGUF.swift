import ModelFile

extension LlamaConfiguration {
    /// Reads the hyperparameters of a GGUF file and checks that the kernels can run them.
    ///
    /// - Parameter tensors: those of all files that the model was cut into; nil takes this one's.
    init(file: GGUFFile, tensors: [String: Tensor]? = nil) throws(ModelError) {
        do {
            try self.init(reading: file, tensors ?? file.tensors)
        } catch let error as ModelFileError {
            throw ModelError(error)
        } catch let error as ModelError {
            throw error
        } catch {
            throw ModelError(field: "metadata", reason: "\(error)")
        }
    }

    private init(reading file: GGUFFile, _ tensors: [String: Tensor]) throws {
        let name = try file.string("general.architecture")
        guard let architecture = Architecture(rawValue: name) else {
            throw ModelError(
                field: "metadata 'general.architecture'",
                reason: "'\(name.prefix(64))' is not supported (\(Architecture.names) are)")
        }
        func key(_ key: String) -> String { "\(name).\(key)" }
        // A mixture of experts calls itself llama too.
        let experts = try file.int(key("expert_count"), in: 0...Int(Int32.max), default: 0)
        guard experts == 0 else {
            throw ModelError(
                field: "metadata '\(key("expert_count"))'", reason: "a mixture of experts is not supported")
        }
        guard let embeddings = tensors["token_embd.weight"] else {
            throw ModelError(field: "tensor 'token_embd.weight'", reason: "is missing")
        }
        let embedding = try file.int(key("embedding_length"), in: 32...(1 << 16))
        let heads = try file.int(key("attention.head_count"), in: 1...1024)
        let vocabulary = embeddings.dimensions.count == 2 ? embeddings.dimensions[1] : 0
        guard (1...(1 << 22)).contains(vocabulary) else {
            throw ModelError(
                field: "tensor 'token_embd.weight' dimensions",
                reason: "\(embeddings.dimensions) is not [embedding, vocabulary]")
        }
        let headSize = try file.int(key("attention.key_length"), in: 2...512, default: embedding / heads)
        let contextLength = try file.int(key("context_length"), in: 1...(1 << 24))
        // 0 stands for no window; one as long as the context hides nothing.
        let window = try file.int(key("attention.sliding_window"), in: 0...Int(Int32.max), default: 0)
        self.init(
            architecture: architecture,
            layers: try file.int(key("block_count"), in: 1...1024),
            heads: heads,
            kvHeads: try file.int(key("attention.head_count_kv"), in: 1...1024, default: heads),
            headSize: headSize,
            embedding: embedding,
            feedForward: try file.int(key("feed_forward_length"), in: 32...(1 << 20)),
            vocabulary: vocabulary,
            contextLength: contextLength,
            ropeDimensions: try file.int(key("rope.dimension_count"), in: 0...512, default: headSize),
            ropeBase: Float(try file.float(key("rope.freq_base"), default: 10_000)),
            ropePairing: architecture.pairingInGGUF,
            ropeScaling: try RotaryScaling(file: file, prefix: name, contextLength: contextLength),
            rmsEpsilon: Float(try file.float(key("attention.layer_norm_rms_epsilon"))),
            slidingWindow: (1..<contextLength).contains(window) ? window : nil,
            tiedOutput: tensors["output.weight"] == nil)
        let valueLength = try file.int(key("attention.value_length"), in: 1...4096, default: headSize)
        guard valueLength == headSize else {
            throw ModelError(
                field: "metadata '\(key("attention.value_length"))'",
                reason: "\(valueLength) differs from the key length \(headSize)")
        }
        try check { "metadata '\(key($0))'" }
    }
}

extension RotaryScaling {
    /// Reads `*.rope.scaling.*`. What would silently give wrong numbers is refused.
    fileprivate init(file: GGUFFile, prefix: String, contextLength: Int) throws {
        func key(_ key: String) -> String { "\(prefix).rope.scaling.\(key)" }
        func float(_ name: String, default fallback: Double) throws -> Double {
            try file.float(key(name), default: fallback)
        }
        // Old files have the factor of linear scaling under a key of its own; no type means linear too.
        let factor = try float("factor", default: try file.float("\(prefix).rope.scale_linear", default: 1))
        let type = file.metadata[key("type")] == nil ? "linear" : try file.string(key("type"))
        switch type {
        case "none": self = .none
        case "linear": self = factor == 1 || factor == 0 ? .none : .linear(factor: factor)
        case "yarn":
            for (name, neutral) in [("yarn_log_multiplier", 0.0), ("yarn_ext_factor", 1.0)] {
                let value = try float(name, default: neutral)
                guard value == neutral else {
                    throw ModelError(field: "metadata '\(key(name))'", reason: "\(value) is not supported")
                }
            }
            self = .yarn(
                factor: factor,
                originalContext: try file.int(
                    key("original_context_length"), in: 1...(1 << 24), default: contextLength),
                betaFast: try float("yarn_beta_fast", default: 32),
                betaSlow: try float("yarn_beta_slow", default: 1),
                magnitude: Self.yarnMagnitude(factor: factor) * (try float("attn_factor", default: 1)),
                truncates: true)
        default:
            throw ModelError(
                field: "metadata '\(key("type"))'",
                reason: "'\(type.prefix(64))' is not supported (none, linear and yarn are)")
        }
    }
}
