/// Drafts from a smaller model with the same vocabulary: its most likely tokens (Leviathan et al. 2023; Chen et al. 2023).
///
/// It has a KV cache of its own. Before it guesses, it computes what came since it was asked last, the tokens that its guesses turned out
/// not to be among them; what it computed of a wrong guess is overwritten. A sequence for which it does not pay is asked about again
/// in growing intervals, one guess at a time, which is compared and not computed.
final class ModelDrafter: Drafter {
    private final class Text {
        /// Tokens whose keys and values are in the draft model's blocks; the first `confirmed` of them are the sequence's.
        var history: [Int32] = []
        var confirmed = 0
        var table: [Int32] = []
        var rate: AcceptanceRate
        /// Tokens of the sequence that were compared with the draft model's vocabulary, and whether one is not in it.
        var scanned = 0
        var isForeign = false
        /// Steps since the last guess, and how many there are to be before the next probe.
        var idleSteps = 0
        var probeGap: Int

        init(rate: AcceptanceRate, probeGap: Int) {
            self.rate = rate
            self.probeGap = probeGap
        }
    }

    /// What a sequence needs of the steps to come.
    private struct Demand {
        let index: Int
        let text: Text
        let tokens: [Int32]
        let length: Int
        var guess: [Int32] = []
        var isReady = false
    }

    private let pass: any ForwardPass
    private let sampler: GreedySampler
    /// Ids that both models have: one of the two may have more rows of padding.
    private let vocabulary: Int
    private let clock: () -> Double
    private var pool: BlockPool
    private var batch = StepBatch()
    private var texts: [UInt64: Text] = [:]
    private var costs = StepCosts()
    private var rate = AcceptanceRate(expectation: 0.6, weight: 16, memory: 512)
    /// A forward pass that cannot run is not asked again: drafts are never worth a failed turn.
    private(set) var hasFailed = false

    /// Rows that catching up may take in one step, so that a long text does not hold up the others' tokens.
    static let catchUpRows = 128
    static let probeGaps = 8...512

    /// - Parameter vocabulary: ids of the model that is drafted for.
    init(pass: any ForwardPass, vocabulary: Int, clock: @escaping () -> Double = { MonotonicClock.seconds }) {
        self.pass = pass
        self.vocabulary = min(pass.vocabulary, vocabulary)
        self.clock = clock
        sampler = GreedySampler(vocabulary: self.vocabulary)
        pool = BlockPool(blockCount: pass.kvBlockCount)
    }

    var freeBlocks: Int { pool.freeCount }

    func candidate(for sequence: ScheduledSequence) -> DraftAllocation.Candidate {
        // The last guess is not computed.
        let room = pass.contextLength - sequence.tokens.count + 1
        guard !hasFailed, room > 0 else { return .init(acceptance: 0, longest: 0) }
        // Before its cost is known, one guess is enough.
        let longest = costs.seconds(rows: 1) == nil ? 1 : room
        let text = text(of: sequence)
        return .init(acceptance: text.rate.rate, longest: text.isForeign ? 0 : longest)
    }

    func drafts(
        for sequences: [ScheduledSequence], lengths: [Int], probes: [Bool]
    ) -> [(tokens: [Int32], kind: Int)] {
        var result = [(tokens: [Int32], kind: Int)](repeating: ([], 0), count: sequences.count)
        guard !hasFailed else { return result }
        var demands: [Demand] = []
        for (index, sequence) in sequences.enumerated() {
            let text = text(of: sequence)
            guard !text.isForeign else { continue }
            var length = lengths[index]
            if length == 0 {
                text.idleSteps += 1
                guard probes[index], text.idleSteps >= text.probeGap, sequence.tokens.count < pass.contextLength else {
                    continue
                }
                length = 1
            }
            confirm(text, sequence.tokens)
            demands.append(Demand(index: index, text: text, tokens: sequence.tokens, length: length))
        }
        makeRoom(for: &demands)
        do throws(EngineError) {
            try catchUp(&demands)
            while demands.contains(where: { $0.isReady && $0.guess.count < $0.length }) { try deepen(&demands) }
        } catch {
            if case .nonFiniteLogits = error {} else { hasFailed = true }
        }
        for demand in demands {
            result[demand.index].tokens = demand.guess
            if !demand.guess.isEmpty { demand.text.idleSteps = 0 }
        }
        return result
    }

    var isFree: Bool { false }

    func seconds(sequences: Int, depth: Int) -> Double {
        Double(depth) * (costs.seconds(rows: sequences) ?? 0)
    }

    func record(isRight: Bool, kind: Int, for id: UInt64) {
        rate.record(isRight: isRight)
        guard let text = texts[id] else { return }
        text.rate.record(isRight: isRight)
        let gap = isRight ? text.probeGap / 2 : text.probeGap * 2
        text.probeGap = min(max(gap, Self.probeGaps.lowerBound), Self.probeGaps.upperBound)
    }

    func forget(_ id: UInt64) {
        guard let text = texts.removeValue(forKey: id) else { return }
        pool.release(table: &text.table)
    }

    private func text(of sequence: ScheduledSequence) -> Text {
        let text = text(of: sequence.id)
        while text.scanned < sequence.tokens.count {
            // What the draft model has no row for it cannot compute.
            if Int(sequence.tokens[text.scanned]) >= pass.vocabulary { text.isForeign = true }
            text.scanned += 1
        }
        return text
    }

    private func text(of id: UInt64) -> Text {
        if let text = texts[id] { return text }
        // Where it has not paid for anybody lately, a new sequence's prompt is not computed for a look.
        let text = Text(
            rate: AcceptanceRate(expectation: rate.rate, weight: 3, memory: 24),
            probeGap: rate.rate < 0.3 ? Self.probeGaps.upperBound / 4 : Self.probeGaps.lowerBound)
        texts[id] = text
        return text
    }

    /// Drops what the history has beyond the sequence's own tokens. The last token is always computed: its logits are the guess.
    private func confirm(_ text: Text, _ tokens: [Int32]) {
        let limit = min(text.history.count, tokens.count - 1)
        while text.confirmed < limit, text.history[text.confirmed] == tokens[text.confirmed] { text.confirmed += 1 }
        text.confirmed = min(text.confirmed, limit)
        text.history.removeSubrange(text.confirmed...)
    }

    /// Gives every demand its blocks, if need be those of sequences without one; who gets none gives no guess.
    private func makeRoom(for demands: inout [Demand]) {
        let wanted = Set(demands.map { ObjectIdentifier($0.text) })
        demands = demands.filter { demand in
            let text = demand.text
            let needed = BlockPool.blocks(forTokens: demand.tokens.count + demand.length - 1)
            while text.table.count < needed {
                if let block = pool.allocate() {
                    text.table.append(block)
                } else if !releaseIdle(except: wanted) {
                    return false
                }
            }
            return true
        }
    }

    private func releaseIdle(except wanted: Set<ObjectIdentifier>) -> Bool {
        let idle = texts.values.filter { !$0.table.isEmpty && !wanted.contains(ObjectIdentifier($0)) }
        guard let victim = idle.max(by: { $0.idleSteps < $1.idleSteps }) else { return false }
        pool.release(table: &victim.table)
        victim.history = []
        victim.confirmed = 0
        return true
    }

    /// Computes what the draft model has not seen; who then has all of its tokens gets the first guess.
    private func catchUp(_ demands: inout [Demand]) throws(EngineError) {
        var rows = min(pass.maxRows, Self.catchUpRows)
        var planned: [(demand: Int, count: Int)] = []
        for (index, demand) in demands.enumerated() where rows > 0 {
            let count = min(rows, demand.tokens.count - demand.text.history.count)
            planned.append((index, count))
            rows -= count
        }
        try run(planned, &demands) { demand in demand.tokens[demand.text.history.count] }
    }

    /// One more guess for every sequence that is asked for more.
    private func deepen(_ demands: inout [Demand]) throws(EngineError) {
        let planned = demands.indices.filter { demands[$0].isReady && demands[$0].guess.count < demands[$0].length }
        try run(planned.prefix(pass.maxRows).map { ($0, 1) }, &demands) { demand in demand.guess[demand.guess.count - 1]
        }
    }

    /// Computes the next rows of some sequences and takes the most likely token where all that is known has been computed.
    private func run(
        _ planned: [(demand: Int, count: Int)], _ demands: inout [Demand], next: (Demand) -> Int32
    ) throws(EngineError) {
        guard !planned.isEmpty else { return }
        batch.removeAll()
        var outputs: [Int] = []
        for (index, count) in planned {
            let text = demands[index].text
            batch.beginSequence(blockTable: text.table)
            for _ in 0..<count {
                let token = next(demands[index])
                let position = text.history.count
                text.history.append(token)
                let isLast = text.history.count == demands[index].tokens.count + demands[index].guess.count
                batch.append(token: token, position: Int32(position), wantsLogits: isLast)
                if isLast { outputs.append(index) }
            }
        }
        let start = clock()
        try pass.run(batch)
        if batch.rowCount <= 2 * planned.count { costs.record(rows: planned.count, seconds: clock() - start) }
        for (output, index) in outputs.enumerated() {
            guard let token = sampler.token(.init(rebasing: pass.logits(output).prefix(vocabulary))) else {
                demands[index].isReady = false
                continue
            }
            demands[index].guess.append(token)
            demands[index].isReady = true
        }
    }
}
