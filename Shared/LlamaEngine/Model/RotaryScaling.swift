/// How a model stretches the rotation of its heads over more positions than it was first trained for.
public enum RotaryScaling: Sendable, Equatable {
    case none
    /// Positions are divided by `factor` (Chen et al., 2023, arXiv:2306.15595).
    case linear(factor: Double)
    /// Llama 3.1's: frequencies that turn less than `lowFrequency` times within the original context are divided by `factor`, those
    /// that turn more than `highFrequency` times are kept, and between there is a blend.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, originalContext: Int)
    /// YaRN (Peng et al., 2023, arXiv:2309.00071): a ramp over the pairs between those that turn `betaFast` times within the
    /// original context, which are kept, and those that turn `betaSlow` times, which are divided by `factor`. Rotated elements are
    /// multiplied by `magnitude`. The ramp's ends are whole pairs where `truncates`.
    case yarn(
        factor: Double, originalContext: Int, betaFast: Double, betaSlow: Double, magnitude: Double, truncates: Bool)

    /// YaRN's own choice for the magnitude: 0.1 ln(factor) + 1, with `weight` instead of 1 before the logarithm where a model says so.
    static func yarnMagnitude(factor: Double, weight: Double = 1) -> Double {
        factor <= 1 ? 1 : 0.1 * weight * RotaryFrequencies.log(factor) + 1
    }

    /// What cosines and sines are multiplied by.
    var magnitude: Float {
        if case .yarn(_, _, _, _, let magnitude, _) = self { Float(magnitude) } else { 1 }
    }

    /// The frequencies of all pairs, in radians per position, from those without scaling.
    func apply(to frequencies: [Double], base: Double, dimensions: Int) -> [Double] {
        switch self {
        case .none: return frequencies
        case .linear(let factor): return frequencies.map { $0 / factor }
        case .llama3(let factor, let low, let high, let original):
            return frequencies.map { frequency in
                let turns = Double(original) * frequency / (2 * Double.pi)
                if turns < low { return frequency / factor }
                if turns > high { return frequency }
                let kept = (turns - low) / (high - low)
                return (1 - kept) * (frequency / factor) + kept * frequency
            }
        case .yarn(let factor, let original, let betaFast, let betaSlow, _, let truncates):
            // The pair, as a real number, that turns `beta` times within the original context.
            func pair(_ beta: Double) -> Double {
                Double(dimensions) * RotaryFrequencies.log(Double(original) / (beta * 2 * Double.pi))
                    / (2 * RotaryFrequencies.log(base))
            }
            let first = truncates ? pair(betaFast).rounded(.down) : pair(betaFast)
            let last = truncates ? pair(betaSlow).rounded(.up) : pair(betaSlow)
            let low = max(first, 0), high = min(last, Double(dimensions - 1))
            return frequencies.enumerated().map { index, frequency in
                let divided = min(max((Double(index) - low) / max(high - low, 0.001), 0), 1)
                return frequency / factor * divided + frequency * (1 - divided)
            }
        }
    }

    /// Checks the numbers.
    ///
    /// - Parameter key: how the source calls what GGUF calls `llama.rope.scaling.` and this name.
    func check(_ key: (String) -> String) throws(ModelError) {
        func require(_ holds: Bool, _ name: String, _ reason: String) throws(ModelError) {
            guard holds else { throw ModelError(field: key(name), reason: reason) }
        }
        func requireFactor(_ factor: Double) throws(ModelError) {
            try require(factor > 0 && factor < 1e6, "factor", "\(factor) is not between 0 and a million")
        }
        func requireContext(_ tokens: Int) throws(ModelError) {
            try require((1...1 << 24).contains(tokens), "original_context_length", "\(tokens) is not in 1...\(1 << 24)")
        }
        switch self {
        case .none: break
        case .linear(let factor): try requireFactor(factor)
        case .llama3(let factor, let low, let high, let original):
            try requireFactor(factor)
            try requireContext(original)
            try require(
                low > 0 && high > low && high < 1e6, "low_freq_factor", "\(low) and \(high) are not 0 < low < high")
        case .yarn(let factor, let original, let fast, let slow, let magnitude, _):
            try requireFactor(factor)
            try requireContext(original)
            try require(
                slow > 0 && fast >= slow && fast < 1e6, "yarn_beta_fast",
                "\(fast) and \(slow) are not 0 < slow <= fast")
            try require(
                magnitude > 0 && magnitude < 1e3, "attn_factor", "\(magnitude) is not between 0 and a thousand")
        }
    }
}
