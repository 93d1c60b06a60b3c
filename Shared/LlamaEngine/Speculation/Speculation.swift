/// Proposes drafts to the scheduler and learns from what becomes of them; on the engine's thread.
///
/// Before each step every decoding sequence is asked for a guess of its next tokens. How much of it is computed is decided by
/// measurements (``DraftAllocation``): with one sequence in a step further rows are nearly free, among many they are not. A guess that is
/// not computed is still compared with the tokens that come, so a sequence whose text begins to repeat itself is noticed at no cost.
///
/// Nothing here decides a token: a draft's token counts only where the sampler, given the model's own logits, has drawn the same one.
final class Speculation {
    private let configuration: SpeculationConfiguration
    private let drafter: any Drafter
    private var costs = StepCosts()
    private var proposals: [UInt64: Proposal] = [:]

    private struct Proposal {
        var tokens: [Int32]
        var kind: Int
        /// Tokens compared so far, all of them right.
        var compared = 0
    }

    init(_ configuration: SpeculationConfiguration, drafter: any Drafter) {
        self.configuration = configuration
        self.drafter = drafter
    }

    /// nil where nothing is to be guessed.
    static func make(
        _ configuration: SpeculationConfiguration, vocabulary: Int, draftPass: (any ForwardPass)?
    ) throws(EngineError) -> Speculation? {
        switch configuration.mode {
        case .off: return nil
        case .lookup: return Speculation(configuration, drafter: LookupDrafter())
        case .draft:
            guard let draftPass else { throw .unavailable("speculation: no draft model is given") }
            return Speculation(configuration, drafter: ModelDrafter(pass: draftPass, vocabulary: vocabulary))
        }
    }

    /// The drafts for the next step.
    ///
    /// - Parameters:
    ///   - decodes: sequences that will bring one row.
    ///   - maximumRows: draft rows that the step can hold.
    ///   - besidePrompts: whether the step will compute prompts too.
    func propose(
        for decodes: [ScheduledSequence], maximumRows: Int, besidePrompts: Bool,
        _ accept: (UInt64, [Int32]) -> Void
    ) {
        proposals.removeAll(keepingCapacity: true)
        let candidates = decodes.map { sequence in
            var candidate = drafter.candidate(for: sequence)
            candidate.longest = min(
                candidate.longest, configuration.longestDraft, sequence.maximumTokens - sequence.tokens.count - 1)
            return candidate
        }
        let lengths: [Int]
        // A look at how good the guesses are is worth its price where good ones would be computed.
        var probes = [Bool](repeating: true, count: decodes.count)
        switch configuration.policy {
        case .always(let length): lengths = candidates.map { max(0, min(length, $0.longest)) }
        case .measured where besidePrompts:
            lengths = DraftAllocation.lengthsBesidePrompts(of: candidates, maximumRows: maximumRows)
            if !drafter.isFree { probes = candidates.map { _ in false } }
        case .measured:
            lengths = allocate(candidates, maximumRows)
            if !drafter.isFree {
                probes = allocate(candidates.map { .init(acceptance: 0.95, longest: $0.longest) }, maximumRows).map {
                    $0 > 0
                }
            }
        }
        let guesses = drafter.drafts(for: decodes, lengths: lengths, probes: probes)
        for (index, guess) in guesses.enumerated() where !guess.tokens.isEmpty {
            let id = decodes[index].id
            proposals[id] = Proposal(tokens: guess.tokens, kind: guess.kind)
            if lengths[index] > 0 { accept(id, Array(guess.tokens.prefix(lengths[index]))) }
        }
    }

    private func allocate(_ candidates: [DraftAllocation.Candidate], _ maximumRows: Int) -> [Int] {
        let plain = candidates.count
        return DraftAllocation.lengths(of: candidates, plainRows: plain, maximumRows: maximumRows) { (rows, depth) in
            costs.seconds(rows: rows).map { $0 + drafter.seconds(sequences: plain, depth: depth) }
        }
    }

    /// Takes in a token that was sampled, draft or not, in the order of the sequence's tokens.
    func sampled(_ token: Int32, for id: UInt64) {
        guard var proposal = proposals.removeValue(forKey: id) else { return }
        let isRight = proposal.tokens[proposal.compared] == token
        drafter.record(isRight: isRight, kind: proposal.kind, for: id)
        proposal.compared += 1
        if isRight, proposal.compared < proposal.tokens.count { proposals[id] = proposal }
    }

    /// Takes in what a step of decodes and drafts took.
    func record(rows: Int, seconds: Double) { costs.record(rows: rows, seconds: seconds) }

    /// The sequence has ended.
    func forget(_ id: UInt64) {
        proposals[id] = nil
        drafter.forget(id)
    }
}

/// Guesses the tokens that come next.
protocol Drafter: AnyObject {
    /// How far the sequence's next tokens can be guessed, and how well.
    func candidate(for sequence: ScheduledSequence) -> DraftAllocation.Candidate

    /// A guess for each sequence, of the length asked for where that is possible; empty for none. The sequences are those of the last
    /// calls of ``candidate(for:)``.
    ///
    /// - Parameter probes: sequences of which a guess is welcome even where no length is asked for: it is compared, not computed.
    func drafts(
        for sequences: [ScheduledSequence], lengths: [Int], probes: [Bool]
    ) -> [(tokens: [Int32], kind: Int)]

    /// Whether a guess takes no time to speak of.
    var isFree: Bool { get }

    /// Seconds that drafting to a depth takes for so many sequences.
    func seconds(sequences: Int, depth: Int) -> Double

    /// Whether a guessed token was the one that came.
    func record(isRight: Bool, kind: Int, for id: UInt64)

    func forget(_ id: UInt64)
}
