import Foundation

/// Llama's forward pass in plain doubles, written from the paper for the tests: no panels, no blocks, no vectors. Keys and values are
/// rounded to F16, as the KV cache stores them.
struct LlamaInDoubles {
    let layers: Int, heads: Int, kvHeads: Int, headSize: Int, embedding: Int
    let weights: [String: [Double]]
    let ropeFactors: [Double]?

    init(_ model: TinyModel, layers: Int = 2, heads: Int = 4, kvHeads: Int = 2, headSize: Int = 32, embedding: Int = 96)
    {
        (self.layers, self.heads, self.kvHeads) = (layers, heads, kvHeads)
        (self.headSize, self.embedding) = (headSize, embedding)
        weights = Dictionary(
            uniqueKeysWithValues: model.tensors.map { ($0.name, model.values($0.name).map(Double.init)) })
        ropeFactors = weights["rope_freqs.weight"]
    }

    private func multiply(_ name: String, _ x: [Double]) -> [Double] {
        let w = weights[name] ?? []
        return (0..<w.count / x.count).map { n in x.indices.reduce(0) { $0 + w[n * x.count + $1] * x[$1] } }
    }

    private func norm(_ name: String, _ x: [Double]) -> [Double] {
        let w = weights[name] ?? [], scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + 1e-5).squareRoot()
        return zip(x, w).map { $0 * scale * $1 }
    }

    private func rotate(_ x: [Double], position: Int) -> [Double] {
        var y = x
        for i in stride(from: 0, to: x.count, by: 2) {
            let pair = i % headSize / 2
            let factor = ropeFactors.map { $0[pair] } ?? 1
            let angle = Double(position) * pow(10_000, -Double(i % headSize) / Double(headSize)) / factor
            y[i] = x[i] * cos(angle) - x[i + 1] * sin(angle)
            y[i + 1] = x[i] * sin(angle) + x[i + 1] * cos(angle)
        }
        return y
    }

    /// Logits of every position.
    func logits(_ tokens: [Int32]) -> [[Double]] {
        let table = weights["token_embd.weight"] ?? []
        var keys = [[[Double]]](repeating: [], count: layers), values = keys
        return tokens.enumerated().map { position, token in
            var x = Array(table[Int(token) * embedding..<(Int(token) + 1) * embedding])
            for layer in 0..<layers {
                let block = "blk.\(layer)."
                let a = norm(block + "attn_norm.weight", x)
                let q = rotate(multiply(block + "attn_q.weight", a), position: position)
                keys[layer].append(
                    rotate(multiply(block + "attn_k.weight", a), position: position).map { Double(Float16($0)) })
                values[layer].append(multiply(block + "attn_v.weight", a).map { Double(Float16($0)) })
                var attended: [Double] = []
                for head in 0..<heads {
                    let from = head / (heads / kvHeads) * headSize
                    let scores = keys[layer].map { k in
                        (0..<headSize).reduce(0) { $0 + q[head * headSize + $1] * k[from + $1] }
                            / Double(headSize).squareRoot()
                    }
                    let top = scores.max() ?? 0, p = scores.map { exp($0 - top) }, sum = p.reduce(0, +)
                    attended += (0..<headSize).map { d in
                        zip(p, values[layer]).reduce(0) { $0 + $1.0 * $1.1[from + d] } / sum
                    }
                }
                x = zip(x, multiply(block + "attn_output.weight", attended)).map(+)
                let f = norm(block + "ffn_norm.weight", x)
                let h = zip(multiply(block + "ffn_gate.weight", f), multiply(block + "ffn_up.weight", f)).map {
                    $0 / (1 + exp(-$0)) * $1
                }
                x = zip(x, multiply(block + "ffn_down.weight", h)).map(+)
            }
            let out = norm("output_norm.weight", x)
            return multiply(weights["output.weight"] == nil ? "token_embd.weight" : "output.weight", out)
        }
    }
}
