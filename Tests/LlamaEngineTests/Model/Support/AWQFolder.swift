import Foundation
import LlamaEngine

@testable import ModelFile

/// A random model as a folder whose layers' matrices are AWQ's, and the same numbers under GGUF's names in F32.
struct AWQFolder {
    typealias Entry = (name: String, shape: [Int], type: TensorType, bytes: [UInt8])

    private(set) var model: TinyModel
    /// Of config.json: JSON by key.
    var config: [String: String]
    /// Of quantization_config.
    var quantisation = [
        "bits": "4", "group_size": "128", "modules_to_not_convert": "null", "quant_method": #""awq""#,
        "version": #""gemm""#, "zero_point": "true",
    ]
    /// Words before halves, so that all lie aligned.
    var tensors: [Entry] = []

    /// - Parameters:
    ///   - order: of the outputs in a word.
    ///   - biases: Qwen2 with its three, else Llama.
    init(biases: Bool, order: [Int] = AWQMatrix.order, seed: UInt64) {
        model = TinyModel(
            types: [.f32], biases: biases ? ["attn_q", "attn_k", "attn_v"] : [], embedding: 128, feedForward: 256,
            tied: false, seed: seed)
        config = [
            "architectures": biases ? #"["Qwen2ForCausalLM"]"# : #"["LlamaForCausalLM"]"#, "hidden_size": "128",
            "intermediate_size": "256", "num_hidden_layers": "2", "num_attention_heads": "4",
            "num_key_value_heads": "2", "vocab_size": "203", "max_position_embeddings": "1024", "rms_norm_eps": "1e-05",
            "tie_word_embeddings": "false",
        ]
        var generator = RandomNumbers(seed: seed + 1), halves: [Entry] = []
        for (index, tensor) in model.tensors.enumerated() {
            let own = TensorNames.own(tensor.name) ?? tensor.name, shape = tensor.dimensions.reversed() as [Int]
            guard shape.count == 2, tensor.name.hasPrefix("blk.") else {
                let values = model.values(tensor.name).map { Float16($0) }
                model.tensors[index].bytes = values.flatMap { littleEndian(Float($0).bitPattern) }
                halves.append((own, shape, .f16, values.flatMap { littleEndian($0.bitPattern) }))
                continue
            }
            let isSharp = ["attn_q.", "attn_k.", "ffn_gate."].contains { tensor.name.contains($0) }
            let matrix = AWQMatrix(
                inputs: shape[1], outputs: shape[0], scale: (isSharp ? 2 : 1) / Float(shape[1]).squareRoot(),
                using: &generator)
            model.tensors[index].bytes = matrix.values.flatMap { littleEndian($0.bitPattern) }
            let base = own.dropLast("weight".count), groups = shape[1] / 128, words = shape[0] / 8
            let quants = matrix.packedQuants(order: order), zeros = matrix.packedZeros(order: order)
            tensors.append((base + "qweight", [shape[1], words], .i32, quants.flatMap { littleEndian($0) }))
            tensors.append((base + "qzeros", [groups, words], .i32, zeros.flatMap { littleEndian($0) }))
            halves.append(
                (base + "scales", [groups, shape[0]], .f16, matrix.packedScales.flatMap { littleEndian($0) }))
        }
        tensors += halves
    }

    /// - Parameter odd: bytes by which the weights miss a multiple of eight.
    func load(threads: Int = 1, kernels: KernelVariant? = nil, odd: Int = 0) throws -> LlamaModel {
        func object(_ members: [String: String]) -> String {
            "{\(members.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", "))}"
        }
        let folder = try MadeFolder()
        var all = config
        if !quantisation.isEmpty { all["quantization_config"] = object(quantisation) }
        try folder.write("config.json", object(all).utf8)
        try folder.write("model.safetensors", SafeTensorsWriter.contents(tensors, odd: odd))
        return try LlamaModel(
            source: ModelSource(path: folder.url.path),
            options: ModelOptions(
                threads: threads, kernels: kernels, fullPrecisionBackend: .panel, maxRows: 64, kvBlocks: 16))
    }
}
