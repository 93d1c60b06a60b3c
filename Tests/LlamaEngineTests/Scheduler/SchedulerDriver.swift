@testable import LlamaEngine

/// Runs a scheduler with made-up tokens and checks what must hold in every step.
struct SchedulerDriver {
    let scheduler: Scheduler
    /// Output length of each sequence; it ends there.
    var outputs: [UInt64: Int] = [:]
    private(set) var ended: [UInt64] = []
    private(set) var preempted: [UInt64] = []
    private(set) var violations: [String] = []
    private(set) var firstTokenStep: [UInt64: Int] = [:]
    private(set) var produced: [UInt64: Int] = [:]
    private(set) var prefillRows = 0
    private(set) var steps = 0
    /// Seconds since the driver began; every step adds what it takes.
    var now = 0.0
    /// Seconds that a step takes: fixed part, and for each row.
    var cost: (fixed: Double, row: Double) = (0.005, 0.0003)

    init(
        blocks: Int = 64, context: Int = 512, rows: Int = 64, configuration: SchedulerConfiguration = .init()
    ) {
        scheduler = Scheduler(
            configuration: configuration, blockCount: blocks, contextLength: context, maxRows: rows)
    }

    mutating func submit(
        _ id: UInt64, prompt: Int, output: Int, _ priority: RequestPriority = .chat, at arrival: Double = 0,
        tokens: [Int32]? = nil, salt: String? = nil
    ) throws {
        try scheduler.submit(
            id: id, tokens: tokens ?? Array(repeating: Int32(id % 1000), count: prompt), maximumTokens: prompt + output,
            priority: priority, arrival: arrival, salt: salt)
        outputs[id] = output
    }

    mutating func cancel(_ id: UInt64) {
        outputs[id] = nil
        if !scheduler.finish(id) { violations.append("\(id) was not there to cancel") }
        check()
    }

    /// One step; false when nothing is left to do.
    @discardableResult
    mutating func step() -> Bool {
        guard !scheduler.isIdle else { return false }
        let decodesBefore = Set(scheduler.running.filter { $0.remaining == 1 }.map(\.id))
        let plan = scheduler.plan(now: now)
        steps += 1
        prefillRows += plan.prefillRows
        preempted += plan.preempted
        if plan.isEmpty { violations.append("step \(steps) is empty with \(scheduler.sequences.count) sequences") }
        check(plan, decodesBefore: decodesBefore)
        let finishing = plan.work.filter { $0.outputs > 0 }.map(\.sequence)
        let seconds = cost.fixed + cost.row * Double(plan.rows)
        now += seconds
        scheduler.commit(plan, seconds: seconds)
        for sequence in finishing {
            scheduler.append(1, to: sequence.id)
            produced[sequence.id, default: 0] += 1
            if firstTokenStep[sequence.id] == nil { firstTokenStep[sequence.id] = steps }
            if produced[sequence.id] == outputs[sequence.id] {
                scheduler.finish(sequence.id)
                ended.append(sequence.id)
            }
        }
        check()
        return true
    }

    /// Steps until idle.
    mutating func runToEnd() { step { $0.scheduler.isIdle } }

    /// Steps until a condition holds; bounds keep a livelock or a fault in every step from hanging the test.
    mutating func step(until condition: (SchedulerDriver) -> Bool) {
        let bound = steps + 50_000
        while !condition(self) {
            guard steps < bound, violations.count < 10, step() else {
                violations.append("no end after \(steps) steps")
                return
            }
        }
    }

    private mutating func check(_ plan: StepPlan, decodesBefore: Set<UInt64>) {
        let configuration = scheduler.configuration
        if plan.rows > configuration.maxStepRows { violations.append("\(plan.rows) rows in step \(steps)") }
        if plan.prefillRows > scheduler.budget.prefillRows(besideDecodes: plan.plainRows, drafts: plan.draftRows) {
            violations.append("\(plan.prefillRows) prefill rows in step \(steps) are over the budget")
        }
        if scheduler.running.count > configuration.maxRunning { violations.append("too many run in step \(steps)") }
        let planned = Set(plan.work.map(\.sequence.id))
        if planned.count != plan.work.count { violations.append("a sequence is planned twice in step \(steps)") }
        if !decodesBefore.isSubset(of: planned.union(plan.preempted)) {
            violations.append("a decode was left out of step \(steps)")
        }
        for item in plan.work {
            if item.start != item.sequence.computed || item.count < 1 || !item.sequence.isRunning {
                violations.append("\(item.sequence.id) has wrong rows in step \(steps)")
            }
            if item.sequence.table.count < BlockPool.blocks(forTokens: item.start + item.count) {
                violations.append("\(item.sequence.id) has too few blocks in step \(steps)")
            }
        }
    }

    private mutating func check() {
        do throws(IntegrityFault) { try scheduler.verify() } catch { violations.append(error.description) }
        for sequence in scheduler.waiting where !sequence.table.isEmpty {
            violations.append("\(sequence.id) waits with blocks")
        }
    }
}
