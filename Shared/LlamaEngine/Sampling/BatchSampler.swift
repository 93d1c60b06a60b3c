import CKernels

/// Draws the tokens of many rows on the threads of a team. Owns the scratch memory of each thread.
final class BatchSampler {
    private let batch: UnsafeMutablePointer<ck_sampler_batch>
    private let rows: UnsafeMutableBufferPointer<ck_sampler_row>
    private let scratch: UnsafeMutableRawPointer

    init(vocabulary: Int, threads: Int, maxRows: Int) {
        // A line between the threads.
        let stride = ck_sampler_scratch_size(UInt32(vocabulary)) + 64
        scratch = .allocate(byteCount: stride * threads, alignment: 64)
        rows = .allocate(capacity: max(1, maxRows))
        batch = .allocate(capacity: 1)
        batch.initialize(
            to: ck_sampler_batch(
                rows: rows.baseAddress, vocabulary: UInt32(vocabulary), scratch: scratch, scratch_stride: stride))
    }

    deinit {
        batch.deallocate()
        rows.deallocate()
        scratch.deallocate()
    }

    /// - Parameters:
    ///   - team: a team of at least `threads` threads, of which no other call is running.
    ///   - threads: at most as many as there is scratch memory for.
    ///   - logits: `[vocabulary]` of an output.
    func sample(
        _ draws: inout [TokenDraw], team: OpaquePointer, threads: Int, logits: (Int) -> UnsafePointer<Float>
    ) {
        for start in stride(from: 0, to: draws.count, by: rows.count) {
            let part = start..<min(start + rows.count, draws.count)
            for (row, index) in part.enumerated() {
                rows.initializeElement(at: row, to: Self.row(draws[index], logits(draws[index].output)))
            }
            ck_team_each(team, Int32(threads), Int32(part.count), ck_sampler_sample_row, batch)
            for (row, index) in part.enumerated() {
                draws[index].token = rows[row].token == CK_SAMPLER_NON_FINITE ? nil : rows[row].token
            }
        }
    }

    private static func row(_ draw: TokenDraw, _ logits: UnsafePointer<Float>) -> ck_sampler_row {
        ck_sampler_row(
            logits: logits, settings: ck_sampler_settings(draw.parameters),
            random: Philox.bits(seed: draw.parameters.seed, outputIndex: UInt64(draw.outputIndex)), token: 0)
    }
}

extension ck_sampler_settings {
    init(_ parameters: SamplingParameters) {
        self.init(
            temperature: parameters.temperature, top_k: UInt32(clamping: parameters.topK), top_p: parameters.topP,
            min_p: parameters.minP)
    }
}
