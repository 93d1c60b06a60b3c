/// Decides which rows each step computes.
///
/// A pure state machine: no clock, no thread, no model. Its life is `submit`, then step after step `plan`, `commit` and `append`
/// or `finish`. Continuous batching (Yu et al. 2022, Orca), chunked prefill beside decodes (Agrawal et al. 2024, Sarathi-Serve),
/// paged blocks with preemption by recompute (Kwon et al. 2023, vLLM).
///
/// - Decodes come first: every running sequence that has its context computed brings its one row to every step.
/// - Prefills share what the step's budget leaves, least remaining work first, with ageing.
/// - A prompt's beginning that lies in the block cache is not computed again; while a sequence computes a block that another one
///   needs too, the other waits for it.
/// - When blocks run out, the running sequence that is due last gives up its blocks and waits to be computed again. The one due
///   first is never preempted and fits alone, so every step makes progress and every sequence comes to be due first.
final class Scheduler {
    let configuration: SchedulerConfiguration
    let contextLength: Int
    var pool: BlockPool
    var budget: StepBudget
    /// Where preempted sequences leave their blocks when that is cheaper than computing them again.
    var swap = SwapSpace()

    /// All sequences by id: each is in `waiting` or in `running`.
    private(set) var sequences: [UInt64: ScheduledSequence] = [:]
    var waiting: [ScheduledSequence] = []
    var running: [ScheduledSequence] = []
    private(set) var preemptions = 0
    /// Preempted sequences whose blocks went to the second tier.
    var swapOuts = 0
    /// Tokens of sequences that were admitted for the first time, and those of them whose blocks were in the cache.
    var prefixTokens: (queried: UInt64, hit: UInt64) = (0, 0)
    private var submitted: UInt64 = 0

    init(
        configuration: SchedulerConfiguration, blockCount: Int, contextLength: Int, maxRows: Int,
        numericsID: String = ""
    ) {
        self.configuration = configuration.bounded(maxRows: maxRows)
        self.contextLength = contextLength
        pool = BlockPool(blockCount: blockCount, numericsID: numericsID)
        budget = StepBudget(self.configuration)
    }

    var isIdle: Bool { sequences.isEmpty }
    /// Sequences that wait and have not run yet; `maxWaiting` bounds them.
    var queuedCount: Int { waiting.count { !$0.wasPreempted } }

    /// Slots that are allocated and hold no token: ends of last blocks, for shared blocks are full.
    var unusedSlots: Int { running.reduce(0) { $0 + $1.table.count * BlockPool.blockSize - $1.computed } }

    /// Adds a sequence to the queue.
    ///
    /// - Parameters:
    ///   - tokens: prompt and output so far, at least one token.
    ///   - maximumTokens: prompt and output at their longest.
    ///   - arrival: seconds on the caller's clock.
    ///   - salt: sequences with the same one share blocks; nil shares with nobody.
    /// - Throws: ``EngineError/overloaded(_:)``; ``EngineError/invalidRequest(field:reason:)`` for one that can never fit.
    func submit(
        id: UInt64, tokens: [Int32], maximumTokens: Int, priority: RequestPriority, arrival: Double, salt: String? = nil
    ) throws(EngineError) {
        guard sequences[id] == nil else {
            throw .invalidRequest(field: "id", reason: "request \(id) is in progress")
        }
        guard !tokens.isEmpty, maximumTokens >= tokens.count else {
            throw .invalidRequest(field: "prompt", reason: "\(tokens.count) of at most \(maximumTokens) tokens")
        }
        try Self.checkFit(
            maximumTokens: maximumTokens, contextLength: contextLength, blockCount: pool.blockCount)
        let queued = queuedCount
        guard queued < configuration.maxWaiting else {
            throw .overloaded("\(queued) requests wait, the bound is \(configuration.maxWaiting)")
        }
        submitted += 1
        let sequence = ScheduledSequence(
            id: id, priority: priority, due: arrival + configuration.patience.seconds(for: priority),
            ordinal: submitted, tokens: tokens, maximumTokens: maximumTokens,
            scope: salt.map { .salt($0) } ?? .request(submitted))
        sequences[id] = sequence
        waiting.append(sequence)
    }

    /// Refuses what no empty engine could hold, with the numbers.
    static func checkFit(maximumTokens: Int, contextLength: Int, blockCount: Int) throws(EngineError) {
        guard maximumTokens <= contextLength else {
            throw .invalidRequest(
                field: "max_tokens",
                reason: "prompt and max_tokens are \(maximumTokens) tokens, the context is \(contextLength)")
        }
        let blocks = BlockPool.blocks(forTokens: maximumTokens)
        guard blocks <= blockCount else {
            throw .invalidRequest(
                field: "max_tokens",
                reason:
                    "prompt and max_tokens are \(maximumTokens) tokens or \(blocks) KV blocks, there are \(blockCount)")
        }
    }

    /// Sequences whose next rows are decodes, in the order of their admission: those that drafts can be proposed for.
    var decoding: some Sequence<ScheduledSequence> { running.lazy.filter { $0.remaining == 1 } }

    /// Proposes tokens to follow a sequence's own. The next plan takes as many as it has room for and forgets the rest.
    func propose(_ drafts: [Int32], for id: UInt64) {
        guard let sequence = sequences[id], sequence.isRunning, sequence.remaining == 1 else { return }
        sequence.drafts = drafts
    }

    /// Takes in that the plan's rows were computed. Those of drafts count when ``append(_:to:verifiesDraft:)`` says so.
    func commit(_ plan: StepPlan, seconds: Double) {
        for item in plan.work where item.sequence.isRunning {
            item.sequence.computed = item.end
            listComputedBlocks(item.sequence)
        }
        budget.record(
            decodeRows: plan.plainRows, draftRows: plan.draftRows, prefillRows: plan.prefillRows, seconds: seconds)
    }

    /// Appends a token sampled after a step to its sequence.
    ///
    /// - Parameter verifiesDraft: the token is the draft at its place, so that its keys and values were computed in that step.
    func append(_ token: Int32, to id: UInt64, verifiesDraft: Bool = false) {
        guard let sequence = sequences[id] else { return }
        sequence.tokens.append(token)
        guard verifiesDraft else { return }
        sequence.computed += 1
        listComputedBlocks(sequence)
    }

    /// Ends a sequence wherever it is (queued, in prefill, in decode) and frees its blocks at once; false for an unknown id.
    @discardableResult
    func finish(_ id: UInt64) -> Bool {
        guard let sequence = sequences.removeValue(forKey: id) else { return false }
        if sequence.isRunning {
            running.removeAll { $0 === sequence }
            sequence.isRunning = false
        } else {
            waiting.removeAll { $0 === sequence }
        }
        releaseBlocks(of: sequence)
        forgetSwapped(sequence)
        if case .request = sequence.scope { pool.forget(sequence.scope) }
        return true
    }

    /// Takes a running sequence's blocks; it waits until they are brought back or computed again, prompt and output so far.
    func preempt(_ sequence: ScheduledSequence, _ plan: inout StepPlan) {
        running.removeAll { $0 === sequence }
        sequence.isRunning = false
        sequence.wasPreempted = true
        sequence.drafts = []
        swapOut(sequence, &plan)
        releaseBlocks(of: sequence)
        waiting.append(sequence)
        plan.preempted.append(sequence.id)
        preemptions += 1
    }

    /// Makes the pool's books anew; only while nothing runs, so that no sequence holds a block.
    func resetPool() {
        guard running.isEmpty else { return }
        pool.reset()
    }

    /// Checks the block pool's books against the tables of all sequences, and their contents against the tokens.
    func verify() throws(IntegrityFault) {
        try pool.verify(owners: sequences.values.lazy.map(\.table))
        try swap.verify(owners: sequences.values.lazy.map(\.swapped.slots))
        for sequence in sequences.values {
            for index in 0..<sequence.listedBlocks
            where pool.cache.tokens(of: sequence.table[index]) != sequence.blockTokens(index) {
                throw IntegrityFault(
                    description: "block \(index) of sequence \(sequence.id) is listed with other tokens")
            }
        }
    }
}
