import ModelFile

extension LlamaConfiguration {
    /// Reads the hyperparameters of a folder's config.json and checks that the kernels can run them. Defaults are those of
    /// `transformers`' configuration classes.
    init(folder: ModelFolder) throws(ModelError) {
        do {
            try self.init(reading: folder)
        } catch let error as ModelFileError {
            throw ModelError(error)
        } catch let error as ModelError {
            throw error
        } catch {
            throw ModelError(field: "config.json", reason: "\(error)")
        }
    }

    private init(reading folder: ModelFolder) throws {
        func refuse(_ key: String, _ reason: String) -> ModelError {
            ModelError(field: ModelFolder.field(key), reason: reason)
        }
        let name = try folder.strings("architectures").first ?? ""
        guard let architecture = Self.architectures[name] else {
            throw refuse(
                "architectures",
                "'\(name.prefix(64))' is not supported (\(Self.architectures.keys.sorted().joined(separator: ", ")) are)"
            )
        }
        try Self.checkQuantisation(folder)
        let activation = try folder.string("hidden_act", default: "silu")
        guard activation == "silu" else {
            throw refuse("hidden_act", "'\(activation.prefix(64))' is not supported (silu is)")
        }
        let embedding = try folder.int("hidden_size", in: 32...(1 << 16))
        let heads = try folder.int("num_attention_heads", in: 1...1024)
        let vocabulary = try folder.int("vocab_size", in: 1...(1 << 22))
        let layers = try folder.int("num_hidden_layers", in: 1...1024)
        // Qwen3's class has a default of its own; null there means the same as in the others.
        let usual = architecture == .qwen3 && !folder.isNull("head_dim") ? 128 : embedding / heads
        let headSize = try folder.int("head_dim", in: 2...512, default: usual)
        let contextLength = try folder.contextLength
        let rotary = try RotaryParameters(folder)
        // Rounded down, as there.
        let rotated = Double(headSize) * rotary.partialFactor
        guard rotated >= 0, rotated <= 512 else {
            throw refuse("partial_rotary_factor", "\(rotary.partialFactor) is not in 0...1")
        }
        let tensors = folder.tensors
        self.init(
            architecture: architecture, layers: layers, heads: heads,
            kvHeads: try folder.int("num_key_value_heads", in: 1...1024, default: heads),
            headSize: headSize, embedding: embedding,
            feedForward: try folder.int("intermediate_size", in: 32...(1 << 20)),
            vocabulary: vocabulary, contextLength: contextLength,
            ropeDimensions: Int(rotated), ropeBase: Float(rotary.base), ropePairing: .halves,
            ropeScaling: rotary.scaling,
            rmsEpsilon: Float(try folder.float("rms_norm_eps", default: 1e-6)),
            slidingWindow: try Self.slidingWindow(folder, name: name, layers: layers, contextLength: contextLength),
            tiedOutput: try folder.bool(
                "tie_word_embeddings",
                default: tensors["output.weight"] == nil && folder.unusable["output.weight"] == nil))
        try check { ModelFolder.field(Self.keys[$0] ?? $0) }
    }

    private static let architectures: [String: Architecture] = [
        "LlamaForCausalLM": .llama, "MistralForCausalLM": .llama, "Qwen2ForCausalLM": .qwen2,
        "Qwen3ForCausalLM": .qwen3,
    ]

    /// What config.json calls the keys of GGUF that ``check(_:)`` names.
    private static let keys = [
        "embedding_length": "hidden_size", "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
        "attention.key_length": "head_dim", "rope.dimension_count": "partial_rotary_factor",
        "rope.freq_base": "rope_theta", "attention.layer_norm_rms_epsilon": "rms_norm_eps",
        "rope.scaling.factor": "rope_scaling.factor",
        "rope.scaling.original_context_length": "rope_scaling.original_max_position_embeddings",
        "rope.scaling.low_freq_factor": "rope_scaling.low_freq_factor",
        "rope.scaling.yarn_beta_fast": "rope_scaling.beta_fast",
        "rope.scaling.attn_factor": "rope_scaling.attention_factor",
    ]

    /// One window for all layers, or none; models that mix both are refused.
    private static func slidingWindow(
        _ folder: ModelFolder, name: String, layers: Int, contextLength: Int
    ) throws -> Int? {
        let key = "sliding_window"
        var windowed = false
        switch name {
        case "MistralForCausalLM": windowed = !folder.isNull(key)
        case "Qwen2ForCausalLM", "Qwen3ForCausalLM":
            guard try folder.bool("use_sliding_window", default: false), folder.has(key) else { break }
            if folder.has("layer_types") {
                let types = Set(try folder.strings("layer_types"))
                windowed = types.contains("sliding_attention")
                guard types.count <= 1 else {
                    throw ModelError(
                        field: ModelFolder.field("layer_types"),
                        reason: "different types of attention are not supported")
                }
            } else {
                let first = try folder.int("max_window_layers", in: 0...(1 << 20), default: 28)
                windowed = first == 0
                guard windowed || first >= layers else {
                    throw ModelError(
                        field: ModelFolder.field("max_window_layers"),
                        reason: "a window from layer \(first) on is not supported")
                }
            }
        default: break
        }
        guard windowed else { return nil }
        // Mistral's class has a default.
        let window = try folder.int(key, in: 1...Int(Int32.max), default: 4096)
        return window < contextLength ? window : nil
    }
}

/// The rotation's numbers in config.json; before version 5 of `transformers`, `rope_theta` stood beside `rope_scaling`.
private struct RotaryParameters {
    var base: Double
    var partialFactor: Double
    var scaling: RotaryScaling

    init(_ folder: ModelFolder) throws {
        let group = folder.rotaryGroup
        func key(_ name: String) -> String { "\(group).\(name)" }
        func number(_ name: String, default fallback: Double? = nil) throws -> Double {
            try folder.float(key(name), default: fallback)
        }
        for nested in ["full_attention", "sliding_attention"] where folder.has(key(nested)) {
            throw ModelError(
                field: ModelFolder.field(key(nested)), reason: "a rotation for each type of layer is not supported")
        }
        base = try number("rope_theta", default: try folder.float("rope_theta", default: 10_000))
        partialFactor = try number(
            "partial_rotary_factor", default: try folder.float("partial_rotary_factor", default: 1))
        func originalContext() throws -> Int {
            try folder.originalContextLength
                ?? folder.int("max_position_embeddings", in: 1...ModelFolder.contextLimit)
        }
        let type = try folder.rotaryType
        switch type {
        case "default": scaling = .none
        case "linear": scaling = .linear(factor: try number("factor"))
        case "llama3":
            scaling = .llama3(
                factor: try number("factor"), lowFrequency: try number("low_freq_factor"),
                highFrequency: try number("high_freq_factor"), originalContext: try originalContext())
        case "yarn":
            let factor = try number("factor")
            // DeepSeek's two weights divide each other where both are there.
            let weights = (try number("mscale", default: 0), try number("mscale_all_dim", default: 0))
            let usual =
                weights.0 != 0 && weights.1 != 0
                ? RotaryScaling.yarnMagnitude(factor: factor, weight: weights.0)
                    / RotaryScaling.yarnMagnitude(factor: factor, weight: weights.1)
                : RotaryScaling.yarnMagnitude(factor: factor)
            scaling = .yarn(
                factor: factor, originalContext: try originalContext(),
                betaFast: try number("beta_fast", default: 32), betaSlow: try number("beta_slow", default: 1),
                magnitude: try number("attention_factor", default: usual),
                truncates: try folder.bool(key("truncate"), default: true))
        default:
            throw ModelError(
                field: ModelFolder.field(key("rope_type")),
                reason: "'\(type.prefix(64))' is not supported (default, linear, llama3 and yarn are)")
        }
    }
}

extension LlamaConfiguration {
    init(source: ModelSource) throws(ModelError) {
        switch source {
        case .gguf(let file): try self.init(file: file)
        case .shards(let shards): try self.init(file: shards.first, tensors: shards.tensors)
        case .folder(let folder): try self.init(folder: folder)
        }
    }
}
