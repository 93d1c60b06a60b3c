import CKernels

/// Draws tokens from rows of logits. Owns the scratch memory of one row; belongs to one thread.
final class Sampler {
    let vocabulary: Int
    private let scratch: UnsafeMutableRawPointer

    init(vocabulary: Int) {
        self.vocabulary = vocabulary
        scratch = .allocate(byteCount: max(64, ck_sampler_scratch_size(UInt32(vocabulary))), alignment: 64)
    }

    deinit { scratch.deallocate() }

    /// The token with output index `outputIndex`, or nil when a logit is not finite.
    ///
    /// - Parameters:
    ///   - logits: `[vocabulary]`; penalties are applied in place.
    ///   - penalties: the sequence's tokens so far; every id is below `vocabulary`.
    func sample(
        _ logits: UnsafeMutableBufferPointer<Float>, parameters: SamplingParameters, penalties: PenaltyCounts?,
        outputIndex: Int
    ) -> Int32? {
        guard let row = logits.baseAddress, logits.count == vocabulary else { return nil }
        penalties?.apply(parameters, to: logits)
        var settings = ck_sampler_settings(parameters)
        let random = Philox.bits(seed: parameters.seed, outputIndex: UInt64(outputIndex))
        let token = ck_sampler_sample(row, UInt32(vocabulary), &settings, random, scratch)
        return token == CK_SAMPLER_NON_FINITE ? nil : token
    }
}
