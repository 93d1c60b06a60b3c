import Foundation
import LlamaEngine
import ModelFile
import Testing

/// What a config.json says is read as `transformers` reads it, or refused by its name.
@Suite struct FolderConfigurationTests {
    static let base: [String: String] = [
        "architectures": #"["LlamaForCausalLM"]"#, "hidden_size": "64", "intermediate_size": "96",
        "num_hidden_layers": "1", "num_attention_heads": "4", "num_key_value_heads": "2", "vocab_size": "96",
        "max_position_embeddings": "8192", "rms_norm_eps": "1e-05",
    ]

    static func tensors(head: Int = 16, biases: Bool = false, norms: Bool = false) -> [String: [Int]] {
        let block = "model.layers.0."
        var tensors = [
            "model.embed_tokens.weight": [96, 64], "model.norm.weight": [64], block + "input_layernorm.weight": [64],
            block + "post_attention_layernorm.weight": [64], block + "self_attn.q_proj.weight": [4 * head, 64],
            block + "self_attn.k_proj.weight": [2 * head, 64], block + "self_attn.v_proj.weight": [2 * head, 64],
            block + "self_attn.o_proj.weight": [64, 4 * head], block + "mlp.gate_proj.weight": [96, 64],
            block + "mlp.up_proj.weight": [96, 64], block + "mlp.down_proj.weight": [64, 96],
        ]
        if biases {
            for name in ["q", "k", "v"] {
                tensors[block + "self_attn.\(name)_proj.bias"] = [(name == "q" ? 4 : 2) * head]
            }
        }
        if norms { for name in ["q", "k"] { tensors[block + "self_attn.\(name)_norm.weight"] = [head] } }
        return tensors
    }

    /// - Parameter changes: an empty value takes the key away.
    static func load(_ changes: [String: String], _ tensors: [String: [Int]] = tensors()) throws -> LlamaModel {
        var values = base
        for (key, value) in changes { values[key] = value.isEmpty ? nil : value }
        let folder = try MadeFolder()
        let text = values.map { "\"\($0)\": \($1)" }.joined(separator: ",")
        try folder.write(config: Data("{\(text)}".utf8), tensors: tensors, type: .f32)
        return try LlamaModel(
            source: ModelSource(path: folder.url.path),
            options: ModelOptions(threads: 1, fullPrecisionBackend: .panel, maxRows: 1, kvBlocks: 1))
    }

    @Test func defaultsAreThoseOfTheClasses() throws {
        let llama = try Self.load([:]).configuration
        #expect(llama.architecture == .llama && llama.ropePairing == .halves && llama.headSize == 16)
        #expect(llama.ropeBase == 10_000 && llama.ropeScaling == .none && llama.slidingWindow == nil)
        #expect(llama.tiedOutput)
        let mistral = #"["MistralForCausalLM"]"#
        #expect(try Self.load(["architectures": mistral]).configuration.slidingWindow == 4096)
        let unlimited = try Self.load(["architectures": mistral, "sliding_window": "null"])
        #expect(unlimited.configuration.slidingWindow == nil)
        let qwen = Self.tensors(head: 128, norms: true)
        #expect(try Self.load(["architectures": #"["Qwen3ForCausalLM"]"#], qwen).configuration.headSize == 128)
    }

    @Test func qwensWindowNeedsItsSwitch() throws {
        let tensors = Self.tensors(biases: true)
        func window(_ changes: [String: String]) throws -> Int? {
            try Self.load(
                changes.merging(["architectures": #"["Qwen2ForCausalLM"]"#, "sliding_window": "512"]) { $1 }, tensors
            ).configuration.slidingWindow
        }
        #expect(try window([:]) == nil)
        #expect(try window(["use_sliding_window": "true", "max_window_layers": "28"]) == nil)
        #expect(try window(["use_sliding_window": "true", "max_window_layers": "0"]) == 512)
        #expect(try window(["use_sliding_window": "true", "layer_types": #"["sliding_attention"]"#]) == 512)
        #expect(try window(["use_sliding_window": "true", "layer_types": #"["full_attention"]"#]) == nil)
    }

    @Test func bothFormsOfScalingAreRead() throws {
        let old = #"{"type":"linear","factor":2}"#, new = #"{"rope_type":"linear","factor":2.0,"rope_theta":5000}"#
        #expect(try Self.load(["rope_scaling": old]).configuration.ropeScaling == .linear(factor: 2))
        let parameters = try Self.load(["rope_parameters": new, "rope_theta": "7"]).configuration
        #expect(parameters.ropeScaling == .linear(factor: 2) && parameters.ropeBase == 5000)
        let llama3 =
            #"{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":100}"#
        #expect(
            try Self.load(["rope_scaling": llama3]).configuration.ropeScaling
                == .llama3(factor: 8, lowFrequency: 1, highFrequency: 4, originalContext: 100))
    }

    /// Qwen2.5's folders keep the context that the rotation had before it was stretched.
    @Test func yarnStretchesTheContext() throws {
        func context(_ scaling: String, _ changes: [String: String] = [:]) throws -> Int {
            try Self.load(changes.merging(["rope_scaling": scaling]) { $1 }).configuration.contextLength
        }
        func yarn(_ factor: String, original: String?) -> String {
            let original = original.map { #","original_max_position_embeddings":"# + $0 } ?? ""
            return #"{"type":"yarn","factor":"# + factor + original + "}"
        }
        #expect(try context(yarn("4.0", original: "8192")) == 32768)
        #expect(try context(yarn("2.5", original: "4097")) == 10242)
        // Stretched already, or shorter than what stands there.
        #expect(try context(yarn("4", original: "2048")) == 8192)
        #expect(try context(yarn("2", original: "2048")) == 8192)
        // An original context beside the group counts; without any, nothing says what is stretched.
        #expect(try context(yarn("4", original: nil), ["original_max_position_embeddings": "4096"]) == 16384)
        #expect(try context(yarn("4", original: nil)) == 8192)
        // No number of a folder reaches further than a context may.
        #expect(try context(yarn("999999.0", original: "16777216")) == 1 << 24)
        #expect(try context(#"{"type":"linear","factor":4,"original_max_position_embeddings":8192}"#) == 8192)
        // A window that is as long as what was trained for hides something now.
        let windowed = try Self.load([
            "architectures": #"["MistralForCausalLM"]"#, "sliding_window": "8192",
            "rope_scaling": yarn("4", original: "8192"),
        ])
        #expect(windowed.configuration.slidingWindow == 8192)
        let error = try #require(throws: ModelError.self) { _ = try context(yarn("1e300", original: "8192")) }
        #expect(error.field == "config.json 'rope_scaling.factor'")
    }

    /// A writer need not pad its header, so that no number of the file lies where one would be read.
    @Test(arguments: [TensorType.f32, .f16, .bf16], [1, 2, 3]) func weightsMayLieOdd(_ type: TensorType, by odd: Int)
        throws
    {
        func bits(odd: Int, _ backend: FullPrecisionBackend) throws -> [[UInt32]] {
            let folder = try MadeFolder()
            let text = Self.base.map { "\"\($0)\": \($1)" }.joined(separator: ",")
            try folder.write(
                config: Data("{\(text)}".utf8), tensors: Self.tensors(biases: true), type: type, odd: odd)
            let model = try LlamaModel(
                source: ModelSource(path: folder.url.path),
                options: ModelOptions(threads: 2, fullPrecisionBackend: backend, maxRows: 16, kvBlocks: 4))
            let sequence = RowSequence(count: 9, vocabulary: 96, firstBlock: 1, seed: 3)
            return try model.makeForwardPass().bits(sequence, chunks: [8, 1])
        }
        for backend in [FullPrecisionBackend.panel, .openBLAS] {
            #expect(try bits(odd: odd, backend) == bits(odd: 0, backend))
        }
    }

    /// Numbers of 8 bits would need an arithmetic of their own.
    @Test(arguments: ["F8_E4M3", "F8_E5M2"]) func weightsOfEightBitsAreRefusedByName(_ type: String) throws {
        let folder = try MadeFolder(), name = "model.layers.0.self_attn.o_proj.weight"
        let text = Self.base.map { "\"\($0)\": \($1)" }.joined(separator: ",")
        try folder.write("config.json", "{\(text)}".utf8)
        var entries: [String] = [], data = 0
        for (tensor, shape) in Self.tensors() {
            let end = data + shape.reduce(tensor == name ? 1 : 4, *)
            entries.append(
                #""\#(tensor)":{"dtype":"\#(tensor == name ? type : "F32")","shape":\#(shape),"data_offsets":[\#(data),\#(end)]}"#
            )
            data = end
        }
        try folder.write(
            "model.safetensors",
            SafeTensorsWriter.contents(
                header: "{\(entries.joined(separator: ","))}", data: [UInt8](repeating: 0x3C, count: data)))
        let error = try #require(throws: ModelError.self) {
            _ = try LlamaModel(
                source: ModelSource(path: folder.url.path), options: ModelOptions(threads: 1, maxRows: 1, kvBlocks: 1))
        }
        #expect(error.field == "tensor '\(name)'" && error.reason.contains("'\(type)'"), "\(error)")
    }

    static let lies: [(field: String, reason: String, changes: [String: String])] = [
        ("architectures", "'Gemma2ForCausalLM' is not supported", ["architectures": #"["Gemma2ForCausalLM"]"#]),
        ("architectures", "'MixtralForCausalLM' is not", ["architectures": #"["MixtralForCausalLM"]"#]),
        ("architectures", "missing", ["architectures": ""]),
        ("quantization_config.quant_method", "'gptq'", ["quantization_config": #"{"quant_method":"gptq"}"#]),
        ("hidden_act", "'gelu'", ["hidden_act": #""gelu""#]),
        ("hidden_size", "missing", ["hidden_size": ""]),
        ("hidden_size", "not in", ["hidden_size": "-1"]),
        ("hidden_size", "no integer", ["hidden_size": "64.5"]),
        ("num_key_value_heads", "divide", ["num_key_value_heads": "3"]),
        ("num_hidden_layers", "not in", ["num_hidden_layers": "99999999"]),
        ("head_dim", "multiple of 16", ["head_dim": "24", "architectures": #"["Qwen3ForCausalLM"]"#]),
        ("head_dim", "not in", ["head_dim": "1"]),
        ("rope_theta", "between", ["rope_theta": "0.5"]),
        ("rms_norm_eps", "no number", ["rms_norm_eps": #""x""#]),
        ("partial_rotary_factor", "not in", ["partial_rotary_factor": "-0.5"]),
        ("partial_rotary_factor", "32", ["partial_rotary_factor": "2"]),
        ("rope_scaling.rope_type", "'dynamic'", ["rope_scaling": #"{"type":"dynamic","factor":2}"#]),
        ("rope_scaling.factor", "missing", ["rope_scaling": #"{"type":"linear"}"#]),
        ("rope_scaling.factor", "between", ["rope_scaling": #"{"type":"linear","factor":0}"#]),
        (
            "rope_scaling.low_freq_factor", "low < high",
            ["rope_scaling": #"{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4}"#]
        ),
        ("rope_scaling.beta_fast", "slow", ["rope_scaling": #"{"type":"yarn","factor":2,"beta_fast":0.1}"#]),
        ("rope_parameters.full_attention", "each type", ["rope_parameters": #"{"full_attention":{}}"#]),
        (
            "layer_types", "different",
            [
                "architectures": #"["Qwen2ForCausalLM"]"#, "use_sliding_window": "true", "sliding_window": "8",
                "layer_types": #"["full_attention","sliding_attention"]"#,
            ]
        ),
        ("sliding_window", "no integer", ["architectures": #"["MistralForCausalLM"]"#, "sliding_window": "{}"]),
    ]

    @Test(arguments: lies.indices) func aLieIsRefused(_ index: Int) throws {
        let lie = Self.lies[index]
        let error = try #require(throws: ModelError.self) { _ = try Self.load(lie.changes) }
        #expect(error.field == "config.json '\(lie.field)'")
        #expect(error.reason.contains(lie.reason), "\(error.reason)")
    }

    @Test func tensorsAreNamedAsTheFolderNamesThem() throws {
        func error(_ tensors: [String: [Int]], _ changes: [String: String] = [:]) throws -> ModelError {
            try #require(throws: ModelError.self) { _ = try Self.load(changes, tensors) }
        }
        var tensors = Self.tensors()
        tensors["model.layers.0.mlp.up_proj.weight"] = nil
        #expect(try error(tensors).field == "tensor 'model.layers.0.mlp.up_proj.weight'")
        tensors = Self.tensors()
        tensors["model.layers.0.self_attn.k_proj.weight"] = [64, 32]
        #expect(try error(tensors).field == "tensor 'model.layers.0.self_attn.k_proj.weight' dimensions")
        tensors = Self.tensors()
        tensors["model.layers.0.mlp.down_proj.scale"] = [64]
        #expect(try error(tensors).field == "tensor 'model.layers.0.mlp.down_proj.scale'")
        tensors = Self.tensors()
        tensors["model.layers.0.mlp.down_proj.bias"] = [96]
        #expect(try error(tensors).field == "tensor 'model.layers.0.mlp.down_proj.bias' dimensions")
        #expect(try error(Self.tensors(), ["tie_word_embeddings": "false"]).field == "tensor 'lm_head.weight'")
        #expect(
            try error(Self.tensors(), ["vocab_size": "97"]).field == "tensor 'model.embed_tokens.weight' dimensions")
    }
}
