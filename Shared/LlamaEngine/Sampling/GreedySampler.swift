/// Takes the most likely token of a row, of equals the lowest: the engine's own sampler at temperature 0, for benchmarks
/// and tests that run a forward pass without an engine.
public final class GreedySampler {
    private let sampler: Sampler

    public init(vocabulary: Int) { sampler = Sampler(vocabulary: vocabulary) }

    /// - Parameter logits: `[vocabulary]`.
    /// - Returns: nil when a logit is not finite.
    public func token(_ logits: UnsafeMutableBufferPointer<Float>) -> Int32? {
        sampler.sample(logits, parameters: .greedy, penalties: nil, outputIndex: 0)
    }
}
