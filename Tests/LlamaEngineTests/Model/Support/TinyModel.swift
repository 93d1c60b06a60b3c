import LlamaEngine
import ModelFile

/// A random Llama model small enough to compute by hand, as the bytes of a GGUF file.
struct TinyModel {
    struct Matrix {
        var name: String
        var dimensions: [Int]
        var type: TensorType
        var bytes: [UInt8]
    }

    enum Value {
        case text(String), count(Int), number(Float)
    }

    var metadata: [(String, Value)]
    var tensors: [Matrix] = []
    /// What its passes store keys and values as.
    var kvType: KVType

    /// - Parameters:
    ///   - types: given to the matrices in turn, so that one model can mix them.
    ///   - biases: names of the biases in each block, and `output`.
    ///   - window: the sliding window of its attention.
    ///   - rotated: leading elements of a head that are rotated, all by default.
    init(
        types: [TensorType], architecture: String = "llama", biases: [String] = [], headNorms: Bool = false,
        rotated: Int? = nil, layers: Int = 2, heads: Int = 4, kvHeads: Int = 2, headSize: Int = 32, embedding: Int = 96,
        feedForward: Int = 160, vocabulary: Int = 203, tied: Bool = true, ropeFactors: Bool = false,
        window: Int? = nil, kvType: KVType = .f16, seed: UInt64 = 1
    ) {
        self.kvType = kvType
        metadata = [
            ("general.architecture", .text(architecture)), ("llama.block_count", .count(layers)),
            ("llama.embedding_length", .count(embedding)), ("llama.feed_forward_length", .count(feedForward)),
            ("llama.attention.head_count", .count(heads)), ("llama.attention.head_count_kv", .count(kvHeads)),
            ("llama.attention.key_length", .count(headSize)), ("llama.attention.value_length", .count(headSize)),
            ("llama.context_length", .count(1024)), ("llama.rope.freq_base", .number(10_000)),
            ("llama.rope.dimension_count", .count(rotated ?? headSize)),
            ("llama.attention.layer_norm_rms_epsilon", .number(1e-5)),
            ("llama.attention.sliding_window", .count(window ?? 0)),
        ].map { key, value in
            (key.hasPrefix("llama.") ? architecture + key.dropFirst(5) : key, value)
        }
        var generator = RandomNumbers(seed: seed), next = 0
        func matrix(_ name: String, _ inputs: Int, _ outputs: Int, _ scale: Float) -> Matrix {
            defer { next += 1 }
            let type = types[next % types.count]
            return Matrix(
                name: name, dimensions: [inputs, outputs], type: type,
                bytes: GGUFBlocks.random(type, count: inputs * outputs, scale: scale, using: &generator))
        }
        func vector(_ name: String, _ count: Int, around centre: Float) -> Matrix {
            let values = generator.floats(count, scale: 0.2).map { $0 + centre }
            return Matrix(
                name: name, dimensions: [count], type: .f32, bytes: values.flatMap { littleEndian($0.bitPattern) })
        }
        let width = 1 / Float(embedding).squareRoot()
        tensors.append(matrix("token_embd.weight", embedding, vocabulary, 0.5))
        for index in 0..<layers {
            let block = "blk.\(index)."
            tensors.append(vector(block + "attn_norm.weight", embedding, around: 1))
            tensors.append(matrix(block + "attn_q.weight", embedding, heads * headSize, 2 * width))
            tensors.append(matrix(block + "attn_k.weight", embedding, kvHeads * headSize, 2 * width))
            tensors.append(matrix(block + "attn_v.weight", embedding, kvHeads * headSize, width))
            tensors.append(matrix(block + "attn_output.weight", heads * headSize, embedding, width))
            for (name, count) in [
                ("attn_q", heads * headSize), ("attn_k", kvHeads * headSize), ("attn_v", kvHeads * headSize),
                ("attn_output", embedding),
            ] where biases.contains(name) {
                tensors.append(vector(block + name + ".bias", count, around: 0.1))
            }
            if headNorms {
                tensors.append(vector(block + "attn_q_norm.weight", headSize, around: 1.5))
                tensors.append(vector(block + "attn_k_norm.weight", headSize, around: 1.5))
            }
            tensors.append(vector(block + "ffn_norm.weight", embedding, around: 1))
            tensors.append(matrix(block + "ffn_gate.weight", embedding, feedForward, 2 * width))
            tensors.append(matrix(block + "ffn_up.weight", embedding, feedForward, width))
            tensors.append(matrix(block + "ffn_down.weight", feedForward, embedding, width))
            for (name, count) in [("ffn_gate", feedForward), ("ffn_up", feedForward), ("ffn_down", embedding)]
            where biases.contains(name) {
                tensors.append(vector(block + name + ".bias", count, around: 0.1))
            }
        }
        tensors.append(vector("output_norm.weight", embedding, around: 1))
        if !tied { tensors.append(matrix("output.weight", embedding, vocabulary, width)) }
        if biases.contains("output") { tensors.append(vector("output.bias", vocabulary, around: 0.5)) }
        if ropeFactors { tensors.append(vector("rope_freqs.weight", (rotated ?? headSize) / 2, around: 3)) }
    }

    func contents() -> [UInt8] {
        func text(_ value: String) -> [UInt8] { littleEndian(UInt64(value.utf8.count)) + Array(value.utf8) }
        var out = Array("GGUF".utf8) + littleEndian(UInt32(3))
        out += littleEndian(UInt64(tensors.count)) + littleEndian(UInt64(metadata.count))
        for (key, value) in metadata {
            out += text(key)
            switch value {
            case .text(let value): out += littleEndian(UInt32(8)) + text(value)
            case .count(let value): out += littleEndian(UInt32(4)) + littleEndian(UInt32(value))
            case .number(let value): out += littleEndian(UInt32(6)) + littleEndian(value.bitPattern)
            }
        }
        var data: [UInt8] = []
        for tensor in tensors {
            data += [UInt8](repeating: 0, count: (32 - data.count % 32) % 32)
            out += text(tensor.name) + littleEndian(UInt32(tensor.dimensions.count))
            for dimension in tensor.dimensions { out += littleEndian(UInt64(dimension)) }
            out += littleEndian(tensor.type.rawValue) + littleEndian(UInt64(data.count))
            data += tensor.bytes
        }
        return out + [UInt8](repeating: 0, count: (32 - out.count % 32) % 32) + data
    }

    func file() throws -> GGUFFile { try GGUFFile(contents: contents()) }

    /// The same numbers in F32.
    func inFullPrecision() -> TinyModel {
        var model = self
        for index in model.tensors.indices {
            model.tensors[index].bytes = values(tensors[index].name).flatMap { littleEndian($0.bitPattern) }
            model.tensors[index].type = .f32
        }
        return model
    }

    /// The numbers of a tensor.
    func values(_ name: String) -> [Float] {
        guard let tensor = tensors.first(where: { $0.name == name }) else { return [] }
        return GGUFBlocks.decode(tensor.bytes, tensor.type, count: tensor.dimensions.reduce(1, *))
    }
}
