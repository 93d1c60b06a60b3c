/// GGUF's names for the tensors of `transformers`' Llama, Mistral, Qwen2 and Qwen3 models.
enum TensorNames {
    /// Of the whole model.
    private static let outside: [(own: String, gguf: String)] = [
        ("model.embed_tokens.weight", "token_embd.weight"), ("model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", "output.weight"), ("lm_head.bias", "output.bias"),
    ]
    /// Of a layer, without `weight` or `bias`.
    private static let inside: [(own: String, gguf: String)] = [
        ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
    ]

    /// nil for a name that GGUF has none for.
    static func gguf(_ name: String) -> String? {
        if let pair = outside.first(where: { $0.own == name }) { return pair.gguf }
        guard let (layer, part, kind) = split(name, after: "model.layers."),
            let pair = inside.first(where: { $0.own == part })
        else { return nil }
        return "blk.\(layer).\(pair.gguf).\(kind)"
    }

    /// The way back.
    static func own(_ name: String) -> String? {
        if let pair = outside.first(where: { $0.gguf == name }) { return pair.own }
        guard let (layer, part, kind) = split(name, after: "blk."), let pair = inside.first(where: { $0.gguf == part })
        else { return nil }
        return "model.layers.\(layer).\(pair.own).\(kind)"
    }

    /// `prefix` 7 `.` part `.weight`; the number as the file writes it, without leading zeros.
    private static func split(_ name: String, after prefix: String) -> (layer: Int, part: String, kind: String)? {
        guard name.hasPrefix(prefix) else { return nil }
        let parts = name.dropFirst(prefix.count).split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 3, let layer = Int(parts[0]), String(layer) == parts[0], layer >= 0,
            let kind = parts.last
        else { return nil }
        return (layer, parts[1..<parts.count - 1].joined(separator: "."), String(kind))
    }
}
