import Testing

@testable import LlamaEngine

@Suite struct SchedulerPrefixTests {
    private static func tokens(_ count: Int, from start: Int = 0) -> [Int32] {
        (start..<start + count).map { Int32($0 % 997) }
    }

    private static func submit(
        _ driver: inout SchedulerDriver, _ id: UInt64, _ tokens: [Int32], output: Int = 1, salt: String? = "a",
        _ priority: RequestPriority = .chat, at arrival: Double = 0
    ) throws {
        try driver.submit(id, prompt: tokens.count, output: output, priority, at: arrival, tokens: tokens, salt: salt)
    }

    @Test func aSecondTurnComputesOnlyWhatIsNew() throws {
        var driver = SchedulerDriver(blocks: 40)
        let first = Self.tokens(100)
        try Self.submit(&driver, 1, first, output: 21)
        driver.runToEnd()
        #expect(driver.prefillRows == 100)
        // Prompt and answer (ones, the last of which was never computed), then the next question.
        let second = first + Array(repeating: 1, count: 21) + Self.tokens(30, from: 500)
        try Self.submit(&driver, 2, second)
        driver.runToEnd()
        #expect(driver.prefillRows == 100 + 31)
        #expect(driver.scheduler.prefixTokens.hit == 120)
        #expect(driver.scheduler.prefixTokens.queried == 251)
        #expect(driver.violations.isEmpty)
        #expect(driver.scheduler.pool.freeCount == 40)
    }

    @Test(arguments: [1, 2, 16, 17, 32, 33, 64])
    func oneTokenIsAlwaysComputed(length: Int) throws {
        var driver = SchedulerDriver(blocks: 20)
        for id in 1...3 as ClosedRange<UInt64> {
            try Self.submit(&driver, id, Self.tokens(length), output: 3)
            driver.runToEnd()
        }
        #expect(driver.ended == [1, 2, 3])
        #expect(driver.scheduler.prefixTokens.hit == UInt64(2 * (length - 1)))
        #expect(driver.violations.isEmpty)
    }

    @Test func saltsKeepApartAndWithoutOneNothingIsShared() throws {
        var driver = SchedulerDriver(blocks: 60)
        for (id, salt) in [(1, "a"), (2, "b"), (3, nil), (4, nil), (5, "a")] as [(UInt64, String?)] {
            try Self.submit(&driver, id, Self.tokens(64), salt: salt)
            driver.runToEnd()
        }
        // 63 of the fifth's tokens only.
        #expect(driver.scheduler.prefixTokens.hit == 63)
        #expect(driver.scheduler.prefixTokens.queried == 3 * 64)
        #expect(driver.scheduler.pool.cache.scopes.count == 2)
        #expect(driver.violations.isEmpty)
    }

    /// Four requests come at once with the same long beginning: one computes it, the others take it over.
    @Test func aBeginningThatManyNeedAtOnceIsComputedOnce() throws {
        var driver = SchedulerDriver(blocks: 100, rows: 64)
        let shared = Self.tokens(160)
        for id in 1...4 { try Self.submit(&driver, UInt64(id), shared + Self.tokens(10, from: 100 * id), output: 5) }
        driver.runToEnd()
        #expect(driver.prefillRows == 160 + 4 * 10)
        #expect(driver.scheduler.prefixTokens.hit == 3 * 160)
        #expect(driver.violations.isEmpty)
    }

    @Test func whoWaitsForABlockGoesOnWhenItsComputerIsCancelled() throws {
        var driver = SchedulerDriver(blocks: 100, rows: 32)
        let shared = Self.tokens(160)
        try Self.submit(&driver, 1, shared + [1], output: 5)
        try Self.submit(&driver, 2, shared + [2], output: 5)
        driver.step()
        driver.step()
        #expect(driver.prefillRows == 64)
        driver.cancel(1)
        driver.runToEnd()
        // The last token, left alone, counts as a decode.
        #expect(driver.prefillRows == 160)
        #expect(driver.ended == [2])
        #expect(driver.violations.isEmpty)
    }

    @Test func aPreemptedSequenceFindsWhatWasNotTakenFromIt() throws {
        for salt in ["a", nil] {
            var driver = SchedulerDriver(blocks: 24, rows: 64)
            try Self.submit(&driver, 1, Self.tokens(200), output: 5, salt: salt, .batch)
            driver.step { $0.produced[1] == 1 }
            let rows = driver.prefillRows
            try Self.submit(&driver, 2, Self.tokens(180, from: 300), output: 5, salt: salt, .stream, at: 1)
            driver.step { $0.produced[2] == 5 }
            #expect(driver.preempted == [1])
            driver.runToEnd()
            // 12 blocks were needed by the second and 11 were empty: what is gone is the end.
            #expect(driver.prefillRows - rows - 180 < 60)
            #expect(driver.violations.isEmpty)
            #expect(driver.scheduler.pool.freeCount == 24)
        }
    }

    /// With room in the second tier nothing of a preempted sequence is computed again, whatever the cache lost meanwhile.
    @Test(arguments: [0, 100])
    func aPreemptedSequenceComesBackFromTheSecondTier(slots: Int) throws {
        var driver = SchedulerDriver(blocks: 24, rows: 64)
        driver.scheduler.swap = SwapSpace(byteCount: slots * 1000, blockBytes: 1000)
        try Self.submit(&driver, 1, Self.tokens(200), output: 30, .batch)
        driver.step { $0.produced[1] == 10 }
        try Self.submit(&driver, 2, Self.tokens(340, from: 300), output: 5, .stream, at: 1)
        driver.runToEnd()
        #expect(driver.preempted == [1])
        #expect(driver.scheduler.swapOuts == (slots > 0 ? 1 : 0))
        #expect((driver.prefillRows == 540) == (slots > 0))
        #expect(driver.scheduler.swap.freeSlots.count == slots)
        #expect(driver.violations.isEmpty)
    }

    @Test func aCancelledSequenceGivesItsSlotsBack() throws {
        var driver = SchedulerDriver(blocks: 24, rows: 64)
        driver.scheduler.swap = SwapSpace(byteCount: 100_000, blockBytes: 1000)
        try Self.submit(&driver, 1, Self.tokens(200), output: 30, .batch)
        driver.step { $0.produced[1] == 10 }
        try Self.submit(&driver, 2, Self.tokens(340, from: 300), output: 5, .stream, at: 1)
        driver.step()
        #expect(driver.scheduler.swap.freeSlots.count == 100 - 14)
        driver.cancel(1)
        #expect(driver.scheduler.swap.freeSlots.count == 100)
        driver.runToEnd()
        #expect(driver.violations.isEmpty)
    }

    @Test func blocksOfARequestWithoutSaltAreEmptiedAtItsEnd() throws {
        var driver = SchedulerDriver(blocks: 24)
        try Self.submit(&driver, 1, Self.tokens(200), output: 5, salt: nil)
        driver.runToEnd()
        #expect(driver.scheduler.pool.cachedCount == 0)
        try Self.submit(&driver, 2, Self.tokens(200), output: 5)
        driver.runToEnd()
        #expect(driver.scheduler.pool.cachedCount == 13)
    }

    /// Rows of drafts that were wrong are computed over, and nothing of them is found later.
    @Test func onlyAcceptedTokensAreCached() throws {
        let scheduler = Scheduler(configuration: .init(), blockCount: 20, contextLength: 256, maxRows: 64)
        try scheduler.submit(id: 1, tokens: Self.tokens(14), maximumTokens: 60, priority: .chat, arrival: 0, salt: "a")
        scheduler.commit(scheduler.plan(now: 0), seconds: 0.01)
        scheduler.append(14, to: 1)
        scheduler.propose([15, 16, 99, 98], for: 1)
        let plan = scheduler.plan(now: 0)
        #expect(plan.rows == 5)
        #expect(plan.draftRows == 4)
        var batch = StepBatch()
        plan.fill(&batch)
        #expect(batch.tokens == [14, 15, 16, 99, 98])
        #expect(batch.positions == [14, 15, 16, 17, 18])
        #expect(batch.outputRows == [0, 1, 2, 3, 4])
        scheduler.commit(plan, seconds: 0.01)
        scheduler.append(15, to: 1, verifiesDraft: true)
        scheduler.append(16, to: 1, verifiesDraft: true)
        scheduler.append(17, to: 1)
        let sequence = try #require(scheduler.sequences[1])
        #expect(sequence.tokens == Self.tokens(18))
        #expect(sequence.computed == 17)
        #expect(sequence.listedBlocks == 1)
        try scheduler.verify()
        scheduler.finish(1)
        try scheduler.verify()
        try scheduler.submit(
            id: 2, tokens: Self.tokens(17) + [99, 98, 97], maximumTokens: 60, priority: .chat, arrival: 0, salt: "a")
        #expect(scheduler.plan(now: 0).work.first?.start == 17)
    }

    @Test func draftsAreCutToWhatThereIsRoomFor() throws {
        let scheduler = Scheduler(configuration: .init(), blockCount: 2, contextLength: 256, maxRows: 64)
        try scheduler.submit(id: 1, tokens: Self.tokens(14), maximumTokens: 32, priority: .chat, arrival: 0)
        scheduler.commit(scheduler.plan(now: 0), seconds: 0.01)
        scheduler.append(14, to: 1)
        scheduler.propose(Array(repeating: 3, count: 40), for: 1)
        let plan = scheduler.plan(now: 0)
        // The other block is promised to the sequence's own growth: only the rest of the first one is used.
        #expect(plan.draftRows == 1)
        scheduler.commit(plan, seconds: 0.01)
        scheduler.append(15, to: 1)
        // Not proposed again, not kept.
        let next = scheduler.plan(now: 0)
        #expect(next.draftRows == 0)
        scheduler.commit(next, seconds: 0.01)
        for token in 16..<31 as Range<Int32> {
            scheduler.append(token, to: 1)
            scheduler.propose([1, 2, 3, 4, 5, 6, 7, 8], for: 1)
            let plan = scheduler.plan(now: 0)
            #expect(plan.draftRows <= 32 - Int(token) - 2)
            scheduler.commit(plan, seconds: 0.01)
        }
        try scheduler.verify()
    }
}
