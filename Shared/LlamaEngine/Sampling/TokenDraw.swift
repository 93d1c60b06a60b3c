/// A token to draw from one row of a step's logits, and what was drawn.
public struct TokenDraw: Sendable, Equatable {
    /// Index into the last batch's `outputRows`.
    public var output: Int
    /// Penalties are left out: they need the text so far.
    public var parameters: SamplingParameters
    /// The token's place in its sequence's output: the counter of its random number.
    public var outputIndex: Int
    /// nil when a logit is not finite.
    public var token: Int32?

    public init(output: Int, parameters: SamplingParameters, outputIndex: Int) {
        self.output = output
        self.parameters = parameters
        self.outputIndex = outputIndex
    }
}

extension ForwardPass {
    /// One draw after the other, for a pass without threads.
    public func sample(_ draws: inout [TokenDraw]) {
        let sampler = Sampler(vocabulary: vocabulary)
        for index in draws.indices {
            let draw = draws[index]
            draws[index].token = sampler.sample(
                logits(draw.output), parameters: draw.parameters, penalties: nil, outputIndex: draw.outputIndex)
        }
    }
}
