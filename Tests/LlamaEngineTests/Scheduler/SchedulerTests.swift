import SeededRandom
import Testing

@testable import LlamaEngine

@Suite struct SchedulerTests {
    @Test func longPromptIsCutIntoChunksBesideDecodes() throws {
        var driver = SchedulerDriver(rows: 32)
        try driver.submit(1, prompt: 4, output: 40)
        driver.step()
        try driver.submit(2, prompt: 200, output: 1)
        driver.step { $0.firstTokenStep[2] != nil }
        #expect(driver.violations.isEmpty)
        #expect(driver.steps > 6)
        // The decode went on in every step of the prefill.
        #expect(driver.produced[1] == driver.steps)
    }

    @Test func timeBudgetShrinksTheChunkOfASlowMachine() {
        var budget = StepBudget(SchedulerConfiguration())
        for _ in 0..<50 { budget.record(decodeRows: 0, prefillRows: 100, seconds: 0.1) }
        // Prompts alone keep nobody waiting: the step is as large as it may be.
        #expect(budget.prefillRows(besideDecodes: 0) == 512)
        for _ in 0..<50 { budget.record(decodeRows: 4, prefillRows: 0, seconds: 0.02) }
        #expect((28...30).contains(budget.prefillRows(besideDecodes: 4)))
        // Decodes alone are over the target: prompts still go on.
        for _ in 0..<50 { budget.record(decodeRows: 4, prefillRows: 0, seconds: 1) }
        #expect(budget.prefillRows(besideDecodes: 4) == SchedulerConfiguration().minimumPrefillRows)
        #expect(budget.prefillRows(besideDecodes: 512) == 0)
    }

    /// A big model: each step reads all weights, so a few rows at a time would cost it a quarter of its speed.
    @Test func promptsAloneTakeTheWholeStep() {
        var budget = StepBudget(SchedulerConfiguration())
        // Before anything is measured, a step of prompts alone is no larger than any other.
        #expect(budget.prefillRows(besideDecodes: 0) == 100 && budget.prefillRows(besideDecodes: 1) == 100)
        for _ in 0..<50 { budget.record(decodeRows: 0, prefillRows: 16, seconds: 16 * 0.016) }
        // Who comes meanwhile waits no longer than three quarters of a second.
        #expect((45...47).contains(budget.prefillRows(besideDecodes: 0)))
        #expect(budget.prefillRows(besideDecodes: 1) == SchedulerConfiguration().minimumPrefillRows)
    }

    /// What a row may take is guessed from the model's size: the first step of a large one is not longer than anybody waits.
    @Test func theFirstStepOfALargeModelIsSmall() {
        var configuration = SchedulerConfiguration()
        configuration.expectedRowSeconds = 0.04
        var budget = StepBudget(configuration)
        #expect(budget.prefillRows(besideDecodes: 0) == configuration.minimumPrefillRows)
        // 0.3 s to read the weights, 10 ms a row: 45 rows are three quarters of a second, and a few steps come near them.
        for _ in 0..<6 {
            let rows = budget.prefillRows(besideDecodes: 0)
            budget.record(decodeRows: 0, prefillRows: rows, seconds: 0.3 + 0.01 * Double(rows))
        }
        #expect((30...45).contains(budget.prefillRows(besideDecodes: 0)))
    }

    @Test func theRateOfDecodesIsThatOfTokensThatCame() {
        var budget = StepBudget(SchedulerConfiguration())
        // Four sequences, four drafts each, none of them right.
        budget.record(decodeRows: 4, draftRows: 16, prefillRows: 0, seconds: 0.1)
        budget.recordDecoded(tokens: 4, seconds: 0.1)
        #expect(budget.decodeTokensPerSecond == 40)
        // Plain steps of 10 ms and one token, and as many of 30 ms with five: 6 tokens in 40 ms.
        for _ in 0..<200 {
            budget.recordDecoded(tokens: 1, seconds: 0.01)
            budget.recordDecoded(tokens: 5, seconds: 0.03)
        }
        let rate = budget.decodeTokensPerSecond ?? 0
        #expect((147...153).contains(rate), "\(rate)")
    }

    /// Half of the steps bring drafts. What they add is not taken for the decodes' time, or drafts and prompts would get too few rows.
    @Test func theTimeOfDecodesIsThatOfPlainOnes() {
        var budget = StepBudget(SchedulerConfiguration())
        for _ in 0..<50 { budget.record(decodeRows: 0, prefillRows: 100, seconds: 0.02) }
        for _ in 0..<200 {
            budget.record(decodeRows: 4, prefillRows: 0, seconds: 0.01)
            budget.record(decodeRows: 4, draftRows: 16, prefillRows: 0, seconds: 0.026)
        }
        // 10 ms of decodes, 1 ms a draft, 0.2 ms a row of a prompt.
        let decode = budget.decodeSeconds ?? 0, draft = budget.measuredDraftRowSeconds ?? 0
        #expect((0.0098...0.0102).contains(decode), "\(decode)")
        #expect((0.00095...0.00105).contains(draft), "\(draft)")
        #expect((38...42).contains(budget.draftRows(besideDecodes: 4, leavingPrefills: false)))
        #expect((195...205).contains(budget.prefillRows(besideDecodes: 4)))
        // Ten drafts take 10 of the 40 ms that are left.
        #expect((145...155).contains(budget.prefillRows(besideDecodes: 4, drafts: 10)))
        #expect(budget.prefillRows(besideDecodes: 4, drafts: 508) == 0)
    }

    /// Where every step has drafts, nothing tells the two times apart but their shares: together they are the step's.
    @Test func stepsThatAllHaveDraftsAreStillMeasured() {
        var budget = StepBudget(SchedulerConfiguration())
        for seconds in [0.02, 0.04] {
            for _ in 0..<100 { budget.record(decodeRows: 2, draftRows: 6, prefillRows: 0, seconds: seconds) }
            let together = (budget.decodeSeconds ?? 0) + 6 * (budget.measuredDraftRowSeconds ?? 0)
            #expect(abs(together - seconds) < seconds / 100, "\(together)")
            #expect((budget.decodeSeconds ?? 0) > 0.1 * seconds && (budget.measuredDraftRowSeconds ?? 0) > 0)
        }
        #expect(budget.prefillRowsPerSecond == nil)
    }

    /// The scheduler tells the budget which rows of a step were drafts.
    @Test func aStepsDraftsAreNotCountedAsDecodes() throws {
        var configuration = SchedulerConfiguration()
        configuration.maxStepRows = 64
        let scheduler = Scheduler(configuration: configuration, blockCount: 64, contextLength: 512, maxRows: 64)
        try scheduler.submit(id: 1, tokens: [1, 2], maximumTokens: 100, priority: .chat, arrival: 0)
        func step(drafts: [Int32], seconds: Double) -> StepPlan {
            scheduler.propose(drafts, for: 1)
            let plan = scheduler.plan(now: 0)
            scheduler.commit(plan, seconds: seconds)
            scheduler.append(7, to: 1)
            return plan
        }
        _ = step(drafts: [], seconds: 0.01)
        for _ in 0..<20 {
            #expect(step(drafts: [], seconds: 0.01).rows == 1)
            #expect(step(drafts: [5, 6, 5], seconds: 0.04).rows == 4)
        }
        #expect(abs((scheduler.budget.decodeSeconds ?? 0) - 0.01) < 0.001)
    }

    /// A slow moment is forgotten though no step since has brought decodes alone.
    @Test func timeBudgetRecoversInMixedSteps() {
        var budget = StepBudget(SchedulerConfiguration())
        for _ in 0..<50 { budget.record(decodeRows: 0, prefillRows: 100, seconds: 0.02) }
        for _ in 0..<5 { budget.record(decodeRows: 8, prefillRows: 0, seconds: 1) }
        #expect(budget.prefillRows(besideDecodes: 8) == SchedulerConfiguration().minimumPrefillRows)
        for _ in 0..<100 {
            let rows = budget.prefillRows(besideDecodes: 8)
            budget.record(decodeRows: 8, prefillRows: rows, seconds: 0.01 + 0.0002 * Double(rows))
        }
        // 200 rows would be exact: 10 ms of decodes, 0.2 ms for a row.
        #expect((150...250).contains(budget.prefillRows(besideDecodes: 8)))
    }

    @Test func shortPromptsAreServedBeforeLongOnes() throws {
        var driver = SchedulerDriver(rows: 32)
        try driver.submit(1, prompt: 300, output: 1)
        driver.step()
        try driver.submit(2, prompt: 20, output: 1, at: 0.01)
        driver.runToEnd()
        #expect(driver.ended == [2, 1])
        #expect(driver.violations.isEmpty)
    }

    @Test func longPromptThatHasWaitedIsServedBeforeNewShortOnes() throws {
        var driver = SchedulerDriver(blocks: 1000, rows: 32)
        try driver.submit(1, prompt: 300, output: 1)
        // One short prompt arrives in every step and could take all of it.
        for id in 2..<200 {
            try driver.submit(UInt64(id), prompt: 32, output: 1, at: Double(id) * 0.05)
            driver.step()
        }
        #expect(driver.ended.contains(1))
        #expect(driver.violations.isEmpty)
    }

    @Test func classesGoInOrderAndAge() throws {
        var configuration = SchedulerConfiguration()
        configuration.maxRunning = 1
        var driver = SchedulerDriver(configuration: configuration)
        try driver.submit(1, prompt: 8, output: 2, .batch)
        try driver.submit(2, prompt: 8, output: 2, .chat)
        try driver.submit(3, prompt: 8, output: 2, .stream, at: 1)
        try driver.submit(4, prompt: 8, output: 2, .stream, at: 61)
        driver.runToEnd()
        // A batch request that has waited a minute goes before a new stream.
        #expect(driver.ended == [3, 2, 1, 4])
        #expect(driver.violations.isEmpty)
    }

    @Test func streamTakesTheSlotOfBatchButNotOfAnotherStream() throws {
        var configuration = SchedulerConfiguration()
        configuration.maxRunning = 2
        var driver = SchedulerDriver(configuration: configuration)
        try driver.submit(1, prompt: 8, output: 50, .stream)
        try driver.submit(2, prompt: 8, output: 50, .batch)
        driver.step()
        try driver.submit(3, prompt: 8, output: 50, .stream, at: 1)
        try driver.submit(4, prompt: 8, output: 50, .stream, at: 2)
        driver.step()
        #expect(driver.preempted == [2])
        #expect(Set(driver.scheduler.running.map(\.id)) == [1, 3])
        driver.runToEnd()
        #expect(driver.preempted == [2])
        #expect(Set(driver.ended) == [1, 2, 3, 4])
        #expect(driver.violations.isEmpty)
    }

    @Test func equalsDoNotTakeEachOthersPlace() throws {
        var configuration = SchedulerConfiguration()
        configuration.maxRunning = 1
        var driver = SchedulerDriver(configuration: configuration)
        try driver.submit(1, prompt: 300, output: 4, .stream)
        try driver.submit(2, prompt: 8, output: 30, .stream, at: 0.05)
        driver.runToEnd()
        // The short one came later and went first; the long one waits for its end.
        #expect(driver.ended == [2, 1])
        #expect(driver.preempted.isEmpty)
        #expect(driver.violations.isEmpty)
    }

    @Test func lostBlocksAreFoundWhenNothingRuns() throws {
        var driver = SchedulerDriver(blocks: 4)
        let lost = driver.scheduler.pool.allocate()
        #expect(lost != nil)
        try driver.submit(1, prompt: 60, output: 4)
        driver.step()
        #expect(driver.scheduler.running.isEmpty)
        #expect(throws: IntegrityFault.self) { try driver.scheduler.verify() }
        driver.scheduler.resetPool()
        driver.runToEnd()
        #expect(driver.ended == [1])
    }

    @Test func outOfBlocksTheLatestOfTheLowestClassIsComputedAgain() throws {
        var driver = SchedulerDriver(blocks: 8)
        try driver.submit(1, prompt: 16, output: 60, .chat)
        try driver.submit(2, prompt: 16, output: 60, .chat, at: 1)
        try driver.submit(3, prompt: 16, output: 60, .batch)
        driver.step { !$0.preempted.isEmpty }
        #expect(driver.preempted == [3])
        driver.step { $0.preempted.count >= 2 }
        #expect(driver.preempted == [3, 2])
        driver.runToEnd()
        #expect(driver.produced == [1: 60, 2: 60, 3: 60])
        #expect(driver.violations.isEmpty)
    }

    @Test func cancellationFreesBlocksInTheQueueInPrefillAndInDecode() throws {
        var driver = SchedulerDriver(blocks: 40, rows: 32)
        try driver.submit(1, prompt: 16, output: 50)
        driver.step()
        try driver.submit(2, prompt: 300, output: 10)
        driver.step()
        try driver.submit(3, prompt: 500, output: 10)
        #expect(driver.scheduler.running.map(\.id) == [1, 2])
        driver.cancel(3)
        driver.cancel(2)
        let held = driver.scheduler.running.reduce(0) { $0 + $1.table.count }
        #expect(driver.scheduler.pool.freeCount == 40 - held)
        driver.cancel(1)
        #expect(driver.scheduler.pool.freeCount == 40)
        #expect(driver.scheduler.isIdle)
        #expect(driver.violations.isEmpty)
    }

    @Test func refusesWhatCanNeverFitWithTheNumbers() throws {
        var driver = SchedulerDriver(blocks: 8, context: 256)
        #expect {
            try driver.submit(1, prompt: 200, output: 57)
        } throws: {
            "\($0)".contains("257") && "\($0)".contains("256")
        }
        #expect {
            try driver.submit(1, prompt: 100, output: 29)
        } throws: {
            "\($0)".contains("129 tokens or 9 KV blocks") && "\($0)".contains("there are 8")
        }
        try driver.submit(1, prompt: 100, output: 28)
        #expect(throws: EngineError.self) { try driver.submit(1, prompt: 1, output: 1) }
        driver.runToEnd()
        #expect(driver.ended == [1])
    }

    @Test func waitingQueueIsBounded() throws {
        var configuration = SchedulerConfiguration()
        configuration.maxWaiting = 3
        var driver = SchedulerDriver(configuration: configuration)
        for id in 1...3 { try driver.submit(UInt64(id), prompt: 1, output: 1) }
        #expect {
            try driver.submit(4, prompt: 1, output: 1)
        } throws: {
            if case .overloaded = $0 as? EngineError { true } else { false }
        }
    }

    @Test func aSequenceThatFitsOnlyAloneIsNotPassedForEver() throws {
        var driver = SchedulerDriver(blocks: 16, context: 256, rows: 32)
        for id in 1...4 { try driver.submit(UInt64(id), prompt: 16, output: 30, at: 0) }
        driver.step()
        try driver.submit(5, prompt: 240, output: 16, at: 0.1)
        for id in 6..<300 {
            try? driver.submit(UInt64(id), prompt: 16, output: 8, at: Double(id) * 0.02)
            driver.step()
        }
        #expect(driver.ended.contains(5))
        #expect(driver.violations.isEmpty)
    }

    /// Arrivals, lengths, classes and cancellations at random; all that must hold is checked in every step.
    @Test(arguments: 0..<24)
    func randomTraces(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var configuration = SchedulerConfiguration()
        configuration.maxRunning = Int.random(in: 1...12, using: &random)
        configuration.maxWaiting = Int.random(in: 4...40, using: &random)
        configuration.minimumPrefillRows = Int.random(in: 1...16, using: &random)
        let blocks = Int.random(in: 8...40, using: &random)
        var driver = SchedulerDriver(
            blocks: blocks, context: 512, rows: Int.random(in: 12...64, using: &random), configuration: configuration)
        driver.cost = (0.002, Double.random(in: 0.0001...0.01, using: &random))
        let capacity = blocks * BlockPool.blockSize
        var accepted: Set<UInt64> = []
        var cancelled: Set<UInt64> = []
        for id in UInt64(1)...150 {
            let longest = min(capacity, 512)
            let prompt = Int.random(in: 1..<longest, using: &random) / (Bool.random(using: &random) ? 8 : 1) + 1
            let output = Int.random(in: 1...max(1, min(60, longest - prompt)), using: &random)
            let priority = RequestPriority.allCases.randomElement(using: &random) ?? .chat
            do {
                try driver.submit(id, prompt: prompt, output: output, priority, at: Double(id) * 0.02)
                accepted.insert(id)
            } catch {}
            for _ in 0..<Int.random(in: 0...8, using: &random) { driver.step() }
            if Int.random(in: 0..<6, using: &random) == 0,
                let victim = driver.scheduler.sequences.keys.sorted().randomElement(using: &random)
            {
                driver.cancel(victim)
                cancelled.insert(victim)
            }
        }
        driver.runToEnd()
        #expect(driver.violations.isEmpty)
        #expect(Set(driver.ended) == accepted.subtracting(cancelled))
        #expect(driver.ended.allSatisfy { driver.produced[$0] == driver.outputs[$0] })
        #expect(driver.scheduler.pool.freeCount == blocks)
    }
}
