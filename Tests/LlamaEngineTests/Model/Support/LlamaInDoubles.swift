import Foundation

/// Llama's forward pass in plain doubles, written from the paper for the tests: no panels, no blocks, no vectors. Keys and values are
/// rounded as the KV cache stores them: `[heads * headSize]` of one token, F16 by default.
struct LlamaInDoubles {
    let layers: Int, heads: Int, kvHeads: Int, headSize: Int, embedding: Int
    let weights: [String: [Double]]
    let ropeFactors: [Double]?
    /// Leading elements of a head that are rotated, and how: GPT-NeoX's halves or neighbours.
    let rotated: Int, halves: Bool
    /// Radians per position of each pair, of the frequency without scaling.
    let scaled: (Double) -> Double
    /// Of what is rotated (YaRN).
    let magnitude: Double
    let window: Int?
    let stored: ([Double]) -> [Double]
    /// What becomes of a token's queries before they meet keys.
    let asked: ([Double]) -> [Double]

    init(
        _ model: TinyModel, layers: Int = 2, heads: Int = 4, kvHeads: Int = 2, headSize: Int = 32, embedding: Int = 96,
        rotated: Int? = nil, halves: Bool = false, magnitude: Double = 1, scaled: @escaping (Double) -> Double = { $0 },
        window: Int? = nil, stored: @escaping ([Double]) -> [Double] = { $0.map { Double(Float16($0)) } },
        asked: @escaping ([Double]) -> [Double] = { $0 }
    ) {
        (self.window, self.stored, self.asked) = (window, stored, asked)
        (self.rotated, self.halves, self.scaled, self.magnitude) = (rotated ?? headSize, halves, scaled, magnitude)
        (self.layers, self.heads, self.kvHeads) = (layers, heads, kvHeads)
        (self.headSize, self.embedding) = (headSize, embedding)
        weights = Dictionary(
            uniqueKeysWithValues: model.tensors.map { ($0.name, model.values($0.name).map(Double.init)) })
        ropeFactors = weights["rope_freqs.weight"]
    }

    private func multiply(_ name: String, _ x: [Double]) -> [Double] {
        let w = weights[name] ?? []
        let y = (0..<w.count / x.count).map { n in x.indices.reduce(0) { $0 + w[n * x.count + $1] * x[$1] } }
        guard let bias = weights[name.replacing(".weight", with: ".bias")], name.hasPrefix("blk.") else { return y }
        return zip(y, bias).map(+)
    }

    private func norm(_ name: String, _ x: [Double]) -> [Double] {
        let w = weights[name] ?? [], scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + 1e-5).squareRoot()
        return zip(x, w).map { $0 * scale * $1 }
    }

    /// The norm of each head, where the model has one, and the rotation.
    private func rotate(_ x: [Double], _ normName: String, position: Int) -> [Double] {
        var y = x
        for head in stride(from: 0, to: x.count, by: headSize) {
            if weights[normName] != nil {
                y.replaceSubrange(head..<head + headSize, with: norm(normName, Array(x[head..<head + headSize])))
            }
            for pair in 0..<rotated / 2 {
                let factor = ropeFactors.map { $0[pair] } ?? 1
                let angle = Double(position) * scaled(pow(10_000, -2 * Double(pair) / Double(rotated))) / factor
                let i = head + (halves ? pair : 2 * pair), j = i + (halves ? rotated / 2 : 1)
                (y[i], y[j]) = (
                    magnitude * (y[i] * cos(angle) - y[j] * sin(angle)),
                    magnitude * (y[i] * sin(angle) + y[j] * cos(angle))
                )
            }
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
                let q = asked(
                    rotate(multiply(block + "attn_q.weight", a), block + "attn_q_norm.weight", position: position))
                keys[layer].append(
                    stored(
                        rotate(multiply(block + "attn_k.weight", a), block + "attn_k_norm.weight", position: position)))
                values[layer].append(stored(multiply(block + "attn_v.weight", a)))
                let first = window.map { max(0, position + 1 - $0) } ?? 0
                var attended: [Double] = []
                for head in 0..<heads {
                    let from = head / (heads / kvHeads) * headSize
                    let scores = keys[layer][first...].map { k in
                        (0..<headSize).reduce(0) { $0 + q[head * headSize + $1] * k[from + $1] }
                            / Double(headSize).squareRoot()
                    }
                    let top = scores.max() ?? 0, p = scores.map { exp($0 - top) }, sum = p.reduce(0, +)
                    attended += (0..<headSize).map { d in
                        zip(p, values[layer][first...]).reduce(0) { $0 + $1.0 * $1.1[from + d] } / sum
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
            let logits = multiply(weights["output.weight"] == nil ? "token_embd.weight" : "output.weight", out)
            return zip(logits, weights["output.bias"] ?? logits.map { _ in 0 }).map(+)
        }
    }
}
