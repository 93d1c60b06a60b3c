import Foundation

/// The body of the engine's thread: it alone owns the scheduler, the forward pass and the turns.
///
/// Take mail, plan, run, sample, commit, hand out the tokens; park when there is nothing to do.
final class EngineLoop<Pass: ForwardPass> {
    private let pass: Pass
    private let swapFile: SwapFile?
    private let mailbox: Mailbox
    private let rules: StopRules
    private let onStep: @Sendable ([TokenEvent]) -> Void
    private let report: (@Sendable (StepReport) -> Void)?
    private var scheduler: Scheduler
    private let sampler: Sampler
    private var draws: [TokenDraw] = []
    /// What was drawn from each of the step's outputs.
    private var drawn: [Int32?] = []
    private let speculation: Speculation?
    private var batch: StepBatch
    private var turns: [UInt64: GenerationTurn] = [:]
    private var events: [TokenEvent] = []
    private var statistics: EngineStatistics
    /// Whether anything has run since the books were last checked.
    private var hasUncheckedWork = false
    /// Seconds without work after which they are: whoever comes right after another does not wait for it.
    private let idleSeconds = 0.1
    /// Steps of the check in one go: well under a millisecond.
    private let integritySlice = 1024

    init(
        pass: Pass, swap: (space: SwapSpace, file: SwapFile)?, mailbox: Mailbox, rules: StopRules,
        configuration: SchedulerConfiguration, speculation: Speculation?, statistics: EngineStatistics,
        onStep: @escaping @Sendable ([TokenEvent]) -> Void, report: (@Sendable (StepReport) -> Void)?
    ) {
        self.pass = pass
        swapFile = swap?.file
        self.mailbox = mailbox
        self.rules = rules
        self.onStep = onStep
        self.report = report
        self.speculation = speculation
        self.statistics = statistics
        scheduler = Self.makeScheduler(pass, configuration)
        if let swap { scheduler.swap = swap.space }
        sampler = Sampler(vocabulary: pass.vocabulary)
        batch = StepBatch(
            maxRows: scheduler.configuration.maxStepRows, maxSequences: scheduler.configuration.maxRunning,
            maxBlocks: pass.kvBlockCount)
    }

    private static func makeScheduler(_ pass: Pass, _ configuration: SchedulerConfiguration) -> Scheduler {
        Scheduler(
            configuration: configuration, blockCount: pass.kvBlockCount, contextLength: pass.contextLength,
            maxRows: pass.maxRows, numericsID: pass.numericsID)
    }

    /// Runs until a shutdown has been carried out.
    func run() {
        var shutdown: ShutdownMode?
        while true {
            if scheduler.isIdle, shutdown != nil {
                checkIntegrity()
                break
            }
            let mail = takeMail()
            shutdown = mail.shutdown ?? shutdown
            accept(mail)
            if case .atOnce = shutdown {
                for id in turns.keys.sorted() { end(id, .interrupted) }
            }
            if !scheduler.isIdle { step() }
            deliver()
        }
        mailbox.end()
    }

    /// What came in. Without work the thread parks; when nothing has come for a while, it checks the books first, in slices
    /// between which it looks for mail.
    private func takeMail() -> Mailbox.Mail {
        guard scheduler.isIdle else {
            hasUncheckedWork = true
            return mailbox.take(parking: false)
        }
        guard hasUncheckedWork else { return mailbox.take(parking: true) }
        var mail = mailbox.take(parking: true, until: MonotonicClock.seconds + idleSeconds)
        guard mail.isEmpty else { return mail }
        // One that is interrupted begins anew: what it has seen may be otherwise after the next step.
        var check = IntegrityCheck(scheduler.pool)
        while true {
            do throws(IntegrityFault) {
                if try check.advance(scheduler.pool, steps: integritySlice) {
                    try scheduler.swap.verify(owners: EmptyCollection<[Int32]>())
                    break
                }
            } catch {
                note(error)
                break
            }
            mail = mailbox.take(parking: false)
            guard mail.isEmpty else { return mail }
        }
        hasUncheckedWork = false
        statistics.integrityChecks += 1
        mailbox.publish(statistics, queued: scheduler.queuedCount, ended: EmptyCollection())
        return mailbox.take(parking: true)
    }

    private func accept(_ mail: Mailbox.Mail) {
        for request in mail.submissions {
            let turn = GenerationTurn(request, rules: rules)
            turns[request.id] = turn
            let now = MonotonicClock.seconds
            do throws(EngineError) {
                try scheduler.submit(
                    id: request.id, tokens: turn.initialTokens, maximumTokens: request.prompt.count + request.maxTokens,
                    priority: request.priority, arrival: min(request.arrival ?? now, now), salt: request.cacheSalt)
            } catch {
                end(request.id, .failed, reason: error.description)
            }
        }
        for id in mail.cancellations { end(id, .cancelled) }
    }

    private func step() {
        proposeDrafts()
        let plan = scheduler.plan(now: MonotonicClock.seconds)
        guard !plan.isEmpty else { return recover() }
        move(plan.moves)
        plan.fill(&batch)
        let start = MonotonicClock.seconds
        let begun = report == nil ? [] : begin(plan)
        var withoutLogits: [Int] = []
        do throws(EngineError) {
            try pass.run(batch)
        } catch .nonFiniteLogits(let outputs) {
            withoutLogits = outputs
        } catch {
            // Nothing is known of what was computed: every turn of this step fails, the others go on.
            for item in plan.work { end(item.sequence.id, .failed, reason: error.description) }
            return
        }
        let seconds = MonotonicClock.seconds - start
        draw(plan, withoutLogits)
        scheduler.commit(plan, seconds: seconds)
        let generated = statistics.tokensGenerated
        var output = 0
        for item in plan.work {
            sample(item, firstOutput: output, withoutLogits)
            output += item.outputs
        }
        if plan.prefillRows == 0 {
            scheduler.budget.recordDecoded(tokens: Int(statistics.tokensGenerated - generated), seconds: seconds)
        }
        let whole = MonotonicClock.seconds - start
        record(plan, seconds: whole)
        report?(StepReport(begun: begun, rows: plan.rows, seconds: whole))
    }

    /// The step's requests that no step has computed before.
    private func begin(_ plan: StepPlan) -> [UInt64] {
        plan.work.compactMap { item in
            guard let turn = turns[item.sequence.id], !turn.hasBegun else { return nil }
            turn.hasBegun = true
            return item.sequence.id
        }
    }

    private func proposeDrafts() {
        guard let speculation else { return }
        let decodes = Array(scheduler.decoding)
        speculation.propose(
            for: decodes, maximumRows: scheduler.configuration.maxStepRows - decodes.count,
            besidePrompts: decodes.count < scheduler.running.count
        ) { (id, drafts) in scheduler.propose(drafts, for: id) }
    }

    /// Copies blocks, and measures what the second tier takes.
    private func move(_ moves: [BlockMove]) {
        var took = (out: 0.0, in: 0.0), blocks = (out: 0, in: 0)
        for move in moves {
            let start = MonotonicClock.seconds
            switch move {
            case .copy(let copy): pass.copyBlock(from: copy.from, to: copy.to)
            case .swapOut(let block, let slot):
                swapFile.map { pass.saveBlock(block, to: $0.slot(slot)) }
                took.out += MonotonicClock.seconds - start
                blocks.out += 1
            case .swapIn(let slot, let block):
                swapFile.map { pass.restoreBlock(block, from: $0.slot(slot)) }
                took.in += MonotonicClock.seconds - start
                blocks.in += 1
            }
        }
        scheduler.swap.record(out: blocks.out, seconds: took.out)
        scheduler.swap.record(in: blocks.in, seconds: took.in)
    }

    /// Draws from all outputs at once. Of a turn with penalties only the first: the rows of its drafts depend on what that one gives.
    private func draw(_ plan: StepPlan, _ withoutLogits: [Int]) {
        draws.removeAll(keepingCapacity: true)
        var output = 0
        for item in plan.work {
            if let turn = turns[item.sequence.id] {
                let count = turn.penalties == nil ? item.outputs : min(item.outputs, 1)
                for offset in 0..<count where !withoutLogits.contains(output + offset) {
                    turn.penalties?.apply(turn.request.sampling, to: pass.logits(output + offset))
                    draws.append(
                        TokenDraw(
                            output: output + offset, parameters: turn.request.sampling,
                            outputIndex: turn.nextIndex + offset))
                }
            }
            output += item.outputs
        }
        drawn.removeAll(keepingCapacity: true)
        drawn.append(contentsOf: repeatElement(nil, count: output))
        guard !draws.isEmpty else { return }
        pass.sample(&draws)
        for draw in draws { drawn[draw.output] = draw.token }
    }

    /// Takes a sequence's next token; while it is the one that a draft guessed, the row computed for that draft gives one more.
    private func sample(_ item: StepPlan.Work, firstOutput: Int, _ withoutLogits: [Int]) {
        let id = item.sequence.id
        for offset in 0..<item.outputs {
            guard let turn = turns[id] else { return }
            let output = firstOutput + offset
            let token =
                turn.penalties == nil || offset == 0 || withoutLogits.contains(output)
                ? drawn[output]
                : sampler.sample(
                    pass.logits(output), parameters: turn.request.sampling, penalties: turn.penalties,
                    outputIndex: turn.nextIndex)
            guard let token else {
                return end(id, .failed, reason: EngineError.nonFiniteLogits(outputs: [output]).description)
            }
            let isVerified = offset < item.drafts.count && item.drafts[offset] == token
            scheduler.append(token, to: id, verifiesDraft: isVerified)
            speculation?.sampled(token, for: id)
            if isVerified { statistics.draftTokensAccepted += 1 }
            if let event = turn.take(token) {
                events.append(event)
                if event.token != TokenEvent.none { statistics.tokensGenerated += 1 }
                if let finish = event.finish { return close(id, finish) }
            }
            guard isVerified else { return }
        }
    }

    /// Ends a turn without a token.
    private func end(_ id: UInt64, _ finish: FinishReason, reason: String? = nil) {
        guard let turn = turns[id] else { return }
        events.append(turn.ending(finish, reason: reason))
        close(id, finish)
    }

    private func close(_ id: UInt64, _ finish: FinishReason) {
        scheduler.finish(id)
        speculation?.forget(id)
        turns[id] = nil
        statistics.finished += 1
        if finish == .failed { statistics.failed += 1 }
        if finish == .diverged { statistics.diverged += 1 }
    }

    private func record(_ plan: StepPlan, seconds: Double) {
        if plan.prefillRows == 0 { speculation?.record(rows: plan.rows, seconds: seconds) }
        statistics.steps += 1
        statistics.prefillRows += UInt64(plan.prefillRows)
        statistics.draftTokens += UInt64(plan.draftRows)
        statistics.stepSeconds = scheduler.budget.stepSeconds
        statistics.prefillTokensPerSecond = scheduler.budget.prefillRowsPerSecond
        statistics.decodeTokensPerSecond = scheduler.budget.decodeTokensPerSecond
    }

    /// Publishes the state, then hands out the step's events: whoever sees a turn's end may use its id again.
    private func deliver() {
        statistics.running = scheduler.running.count
        statistics.waiting = scheduler.waiting.count
        statistics.freeBlocks = scheduler.pool.freeCount
        statistics.unusedSlots = scheduler.unusedSlots
        statistics.cachedBlocks = scheduler.pool.cachedCount
        statistics.prefixTokensQueried = scheduler.prefixTokens.queried
        statistics.prefixTokensHit = scheduler.prefixTokens.hit
        statistics.blocksEvicted = scheduler.pool.evictions
        statistics.preemptions = UInt64(scheduler.preemptions)
        statistics.swapOuts = UInt64(scheduler.swapOuts)
        mailbox.publish(
            statistics, queued: scheduler.queuedCount,
            ended: events.lazy.filter { $0.finish != nil }.map(\.request))
        guard !events.isEmpty else { return }
        onStep(events)
        events.removeAll(keepingCapacity: true)
    }

    /// Sequences but no work: a defect, for a plan always has work. Either blocks are lost, and found now, or the turns fail;
    /// the thread does not spin.
    private func recover() {
        guard checkIntegrity() else { return }
        for id in turns.keys.sorted() { end(id, .failed, reason: "the scheduler found no room for any turn") }
    }

    /// Nothing runs, so every block must be free. Books that do not balance are reported and made anew: they hold nothing.
    /// Returns whether they balanced.
    @discardableResult
    private func checkIntegrity() -> Bool {
        do throws(IntegrityFault) {
            try scheduler.verify()
            return true
        } catch {
            note(error)
            return false
        }
    }

    private func note(_ fault: IntegrityFault) {
        statistics.integrityFaults += 1
        statistics.lastIntegrityFault = fault.description
        scheduler.resetPool()
        mailbox.publish(statistics, queued: scheduler.queuedCount, ended: EmptyCollection())
    }
}
