import Foundation

@testable import LlamaEngine

/// The sampler's definition in doubles and full sorts, for comparison. Slow and plain.
struct ReferenceSampler {
    /// Candidates in ascending order of id, with their probabilities.
    private(set) var candidates: [(id: Int, probability: Double)] = []
    /// Whether rounding decides which tokens belong: a comparison would say nothing.
    private(set) var isAmbiguous = false

    init(_ logits: [Float], _ parameters: SamplingParameters) {
        let greatest = Double(logits.max() ?? 0)
        var kept = logits.indices.sorted { (logits[$0], $1) > (logits[$1], $0) }
        if parameters.temperature == 0 {
            candidates = [(kept[0], 1)]
            return
        }
        if parameters.topK > 0 { kept = Array(kept.prefix(parameters.topK)) }
        let weights = Dictionary(
            uniqueKeysWithValues: kept.map {
                ($0, exp((Double(logits[$0]) - greatest) / Double(parameters.temperature)))
            })
        let total = kept.reduce(0) { $0 + (weights[$1] ?? 0) }
        if parameters.topP < 1 {
            var mass = 0.0
            var count = 0
            while count < kept.count, mass < Double(parameters.topP) {
                mass += (weights[kept[count]] ?? 0) / total
                count += 1
                if abs(mass - Double(parameters.topP)) < 1e-5 { isAmbiguous = true }
            }
            kept = Array(kept.prefix(count))
        }
        if parameters.minP > 0 {
            for id in kept where logits[id] != logits[kept[0]] {
                if abs((weights[id] ?? 0) - Double(parameters.minP)) < 1e-6 { isAmbiguous = true }
            }
            kept = kept.filter { (weights[$0] ?? 0) >= Double(parameters.minP) }
        }
        let left = kept.reduce(0) { $0 + (weights[$1] ?? 0) }
        candidates = kept.sorted().map { ($0, (weights[$0] ?? 0) / left) }
    }

    /// The token of a random number, or nil when it lies on the border of two tokens.
    func token(random: UInt64) -> Int32? {
        let target = Double(random) / 18_446_744_073_709_551_616
        var sum = 0.0
        for candidate in candidates {
            sum += candidate.probability
            if abs(sum - target) < 2e-5 { return nil }
            if sum > target { return Int32(candidate.id) }
        }
        return nil
    }

    static func penalize(_ logits: inout [Float], _ parameters: SamplingParameters, prompt: [Int32], output: [Int32]) {
        for id in Set(prompt + output) {
            let index = Int(id)
            let penalty = parameters.repetitionPenalty
            logits[index] = logits[index] > 0 ? logits[index] / penalty : logits[index] * penalty
        }
        for id in Set(output) {
            let occurrences = Float(output.count { $0 == id })
            logits[Int(id)] -= parameters.presencePenalty + parameters.frequencyPenalty * occurrences
        }
    }
}
