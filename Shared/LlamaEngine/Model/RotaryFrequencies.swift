/// How far each pair of a head turns from one position to the next (RoFormer, Su et al., 2021).
enum RotaryFrequencies {
    /// `[dimensions / 2]` turns per position: base^(-2i/dimensions) / 2π, scaled, and divided by `factors[i]` where the file has
    /// `rope_freqs.weight` (how GGUF stores Llama 3's scaling).
    static func turns(base: Float, dimensions: Int, scaling: RotaryScaling, factors: [Float]?) -> [Double] {
        let logarithm = log(Double(base))
        let plain = (0..<dimensions / 2).map { exp(-2 * Double($0) / Double(dimensions) * logarithm) }
        let scaled = scaling.apply(to: plain, base: Double(base), dimensions: dimensions)
        return scaled.enumerated().map { pair, frequency in
            let factor = factors.map { Double($0[pair]) } ?? 1
            return frequency / factor / (2 * Double.pi)
        }
    }

    // Ours, because the bits of a C library's differ between versions, and these reach every key.

    /// The natural logarithm of a positive, normal number, by the series of artanh on [1/√2, √2).
    static func log(_ x: Double) -> Double {
        var exponent = Double(x.exponent), significand = x.significand
        if significand > 1.414213562373095 {
            significand /= 2
            exponent += 1
        }
        let z = (significand - 1) / (significand + 1), square = z * z
        var sum = 0.0
        for n in stride(from: 27, through: 1, by: -2) { sum = sum * square + 1 / Double(n) }
        return 2 * z * sum + exponent * 0.693147180559945309
    }

    /// e^x for |x| < 700, by its Taylor series on [-ln(2)/2, ln(2)/2].
    static func exp(_ x: Double) -> Double {
        let power = (x / 0.693147180559945309).rounded(.toNearestOrEven)
        let r = x - power * 0.693147180369123816 - power * 1.90821492927058770e-10
        var sum = 1.0
        for n in stride(from: 16, through: 1, by: -1) { sum = 1 + r / Double(n) * sum }
        return Double(sign: .plus, exponent: Int(power), significand: sum)
    }
}
