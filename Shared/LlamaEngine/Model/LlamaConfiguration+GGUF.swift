import ModelFile

extension LlamaConfiguration {
    /// Reads the hyperparameters of a `llama` file and checks that the kernels can run them.
    init(file: GGUFFile) throws(ModelError) {
        do {
            let architecture = try file.string("general.architecture")
            guard architecture == "llama" else {
                throw ModelError(
                    field: "metadata 'general.architecture'",
                    reason: "'\(architecture.prefix(64))' is not supported; only 'llama' is")
            }
            // A mixture of experts calls itself llama too.
            let experts = try file.int("llama.expert_count", in: 0...Int(Int32.max), default: 0)
            guard experts == 0 else {
                throw ModelError(
                    field: "metadata 'llama.expert_count'", reason: "a mixture of experts is not supported")
            }
            guard let embeddings = file.tensors["token_embd.weight"] else {
                throw ModelError(field: "tensor 'token_embd.weight'", reason: "is missing")
            }
            let embedding = try file.int("llama.embedding_length", in: 32...(1 << 16))
            let heads = try file.int("llama.attention.head_count", in: 1...1024)
            let vocabulary = embeddings.dimensions.count == 2 ? embeddings.dimensions[1] : 0
            guard (1...(1 << 22)).contains(vocabulary) else {
                throw ModelError(
                    field: "tensor 'token_embd.weight' dimensions",
                    reason: "\(embeddings.dimensions) is not [embedding, vocabulary]")
            }
            let headSize = try file.int("llama.attention.key_length", in: 16...512, default: embedding / heads)
            let contextLength = try file.int("llama.context_length", in: 1...(1 << 24))
            // 0 stands for no window; one as long as the context hides nothing.
            let window = try file.int("llama.attention.sliding_window", in: 0...Int(Int32.max), default: 0)
            self.init(
                layers: try file.int("llama.block_count", in: 1...1024),
                heads: heads,
                kvHeads: try file.int("llama.attention.head_count_kv", in: 1...1024, default: heads),
                headSize: headSize,
                embedding: embedding,
                feedForward: try file.int("llama.feed_forward_length", in: 32...(1 << 20)),
                vocabulary: vocabulary,
                contextLength: contextLength,
                ropeDimensions: try file.int("llama.rope.dimension_count", in: 0...512, default: headSize),
                ropeBase: Float(try file.float("llama.rope.freq_base", default: 10_000)),
                rmsEpsilon: Float(try file.float("llama.attention.layer_norm_rms_epsilon")),
                slidingWindow: (1..<contextLength).contains(window) ? window : nil,
                tiedOutput: file.tensors["output.weight"] == nil)
            try checkScaling(file)
        } catch let error as ModelFileError {
            throw ModelError(error)
        } catch let error as ModelError {
            throw error
        } catch {
            throw ModelError(field: "metadata", reason: "\(error)")
        }
        try check()
    }

    private func check() throws(ModelError) {
        func require(_ holds: Bool, _ key: String, _ reason: String) throws(ModelError) {
            guard holds else { throw ModelError(field: "metadata 'llama.\(key)'", reason: reason) }
        }
        try require(embedding % 32 == 0, "embedding_length", "\(embedding) is not a multiple of 32")
        try require(feedForward % 32 == 0, "feed_forward_length", "\(feedForward) is not a multiple of 32")
        try require(heads % kvHeads == 0, "attention.head_count_kv", "\(kvHeads) does not divide \(heads) heads")
        try require(
            headSize % 16 == 0 && headSize >= 16, "attention.key_length",
            "a head size of \(headSize) is not a multiple of 16")
        try require(
            heads * headSize % 32 == 0, "attention.head_count", "\(heads) heads of \(headSize) are no multiple of 32")
        try require(
            ropeDimensions % 2 == 0 && ropeDimensions <= headSize, "rope.dimension_count",
            "\(ropeDimensions) is odd or more than the head size \(headSize)")
        try require(ropeBase > 1 && ropeBase < 1e12, "rope.freq_base", "\(ropeBase) is not between 1 and 1e12")
        try require(
            rmsEpsilon >= 0 && rmsEpsilon < 1, "attention.layer_norm_rms_epsilon",
            "\(rmsEpsilon) is not between 0 and 1")
    }

    /// What would silently give wrong numbers is refused.
    private func checkScaling(_ file: GGUFFile) throws {
        if file.metadata["llama.rope.scaling.type"] != nil {
            let type = try file.string("llama.rope.scaling.type")
            guard type == "none" else {
                throw ModelError(
                    field: "metadata 'llama.rope.scaling.type'", reason: "'\(type.prefix(64))' is not supported")
            }
        }
        let valueLength = try file.int("llama.attention.value_length", in: 1...4096, default: headSize)
        guard valueLength == headSize else {
            throw ModelError(
                field: "metadata 'llama.attention.value_length'",
                reason: "\(valueLength) differs from the key length \(headSize)")
        }
    }
}
