/// How tokens are drawn from logits. Applied in the order of the properties.
///
/// The defaults suit small chat models and are those of llama.cpp: temperature 0.8, top_k 40, top_p 0.95, min_p 0.05, no
/// penalties. The token with output index `i` depends on the logits, these values and `i` alone.
public struct SamplingParameters: Sendable, Equatable {
    /// Divides a positive logit and multiplies a negative one, for every token of the prompt and of the output so far
    /// (Keskar et al. 2019). 1 does nothing.
    public var repetitionPenalty: Float
    /// Subtracted from the logit of every token of the output so far, not of the prompt (OpenAI's definition). 0 does nothing.
    public var presencePenalty: Float
    /// Subtracted once for each time that a token occurs in the output so far, not in the prompt. 0 does nothing.
    public var frequencyPenalty: Float
    /// Divides the logits. 0 (up to 0.0001) is greedy: the largest logit, ties to the lowest id; nothing below is then used.
    public var temperature: Float
    /// Keeps the `topK` largest logits, ties to the lowest ids. 0 keeps all.
    public var topK: Int
    /// Keeps the fewest tokens, most probable first, whose probabilities (renormalised after `topK`) reach `topP`. 1 keeps all.
    public var topP: Float
    /// Keeps tokens of at least `minP` times the largest probability. 0 keeps all.
    public var minP: Float
    /// The key of the random numbers; the counter is the output index.
    public var seed: UInt64

    public init(
        temperature: Float = 0.8, topK: Int = 40, topP: Float = 0.95, minP: Float = 0.05, repetitionPenalty: Float = 1,
        presencePenalty: Float = 0, frequencyPenalty: Float = 0, seed: UInt64 = 0
    ) {
        self.repetitionPenalty = repetitionPenalty
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.seed = seed
    }

    /// The largest logit always wins.
    public static let greedy = SamplingParameters(temperature: 0)

    var hasPenalties: Bool { repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0 }

    /// - Throws: ``EngineError/invalidRequest(field:reason:)`` naming the first value out of range.
    func validate() throws(EngineError) {
        try check("temperature", temperature, 0...100)
        try check("top_p", topP, Float.leastNonzeroMagnitude...1)
        try check("min_p", minP, 0...1)
        try check("repetition_penalty", repetitionPenalty, 0.01...100)
        try check("presence_penalty", presencePenalty, -100...100)
        try check("frequency_penalty", frequencyPenalty, -100...100)
        guard topK >= 0, topK <= Int(UInt32.max) else {
            throw .invalidRequest(field: "top_k", reason: "\(topK) is not in 0...\(UInt32.max)")
        }
    }

    private func check(_ field: String, _ value: Float, _ range: ClosedRange<Float>) throws(EngineError) {
        // A NaN is in no range.
        guard range.contains(value) else {
            throw .invalidRequest(field: field, reason: "\(value) is not in \(range.lowerBound)...\(range.upperBound)")
        }
    }
}
