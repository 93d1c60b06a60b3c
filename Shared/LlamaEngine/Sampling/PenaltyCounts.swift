import CKernels

/// The distinct tokens of one sequence, with the number of times that each was generated.
///
/// Kept from token to token, so that a step costs the distinct tokens and not the text.
struct PenaltyCounts {
    /// Distinct ids of prompt and output, in the order of their first occurrence.
    private(set) var ids: [Int32] = []
    /// Occurrences in the output, for each of `ids`; 0 for a token of the prompt only.
    private(set) var generated: [UInt32] = []
    private var places: [Int32: Int] = [:]

    init(prompt: some Sequence<Int32>, output: some Sequence<Int32>) {
        for token in prompt { _ = place(of: token) }
        for token in output { append(token) }
    }

    /// Counts a generated token.
    mutating func append(_ token: Int32) {
        generated[place(of: token)] += 1
    }

    /// Takes the penalties off a row of logits, `[vocabulary]`, in place; every id is below its length.
    func apply(_ parameters: SamplingParameters, to logits: UnsafeMutableBufferPointer<Float>) {
        guard parameters.hasPenalties, let row = logits.baseAddress else { return }
        ids.withUnsafeBufferPointer { ids in
            generated.withUnsafeBufferPointer { generated in
                ck_sampler_penalize(
                    row, ids.baseAddress, generated.baseAddress, UInt32(ids.count), parameters.repetitionPenalty,
                    parameters.presencePenalty, parameters.frequencyPenalty)
            }
        }
    }

    private mutating func place(of token: Int32) -> Int {
        if let place = places[token] { return place }
        places[token] = ids.count
        ids.append(token)
        generated.append(0)
        return ids.count - 1
    }
}
