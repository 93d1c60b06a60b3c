import ModelFile

extension LlamaConfiguration {
    /// Checks that the kernels can run these hyperparameters.
    ///
    /// - Parameter field: how the source calls the hyperparameter that GGUF calls `llama.` and this key.
    func check(_ field: (String) -> String) throws(ModelError) {
        func require(_ holds: Bool, _ key: String, _ reason: String) throws(ModelError) {
            guard holds else { throw ModelError(field: field(key), reason: reason) }
        }
        try require(embedding % 32 == 0, "embedding_length", "\(embedding) is not a multiple of 32")
        try require(feedForward % 32 == 0, "feed_forward_length", "\(feedForward) is not a multiple of 32")
        try require(heads % kvHeads == 0, "attention.head_count_kv", "\(kvHeads) does not divide \(heads) heads")
        try require(
            headSize >= 2 && (architecture != .qwen3 || headSize % 16 == 0), "attention.key_length",
            "a head size of \(headSize) is less than 2, or no multiple of 16 where heads are normed")
        try require(
            heads * headSize % 32 == 0, "attention.head_count", "\(heads) heads of \(headSize) are no multiple of 32")
        try require(
            ropeDimensions % 2 == 0 && ropeDimensions <= headSize, "rope.dimension_count",
            "\(ropeDimensions) is odd or more than the head size \(headSize)")
        try require(ropeBase > 1 && ropeBase < 1e12, "rope.freq_base", "\(ropeBase) is not between 1 and 1e12")
        try require(
            rmsEpsilon >= 0 && rmsEpsilon < 1, "attention.layer_norm_rms_epsilon",
            "\(rmsEpsilon) is not between 0 and 1")
        try ropeScaling.check { field("rope.scaling." + $0) }
    }
}
