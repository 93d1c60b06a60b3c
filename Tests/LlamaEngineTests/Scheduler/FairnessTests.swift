import SeededRandom
import Testing

@testable import LlamaEngine

/// Who waits for whom, under more work than the engine can do, in simulated time.
@Suite struct FairnessTests {
    /// A driver whose queue is filled up with streams before every step, as many as are accepted.
    private struct Flood {
        var driver: SchedulerDriver
        var random: SeededGenerator
        var next: UInt64 = 1000
        let prompts: ClosedRange<Int>

        init(seed: UInt64, prompts: ClosedRange<Int>, blocks: Int = 60, running: Int = 8) {
            var configuration = SchedulerConfiguration()
            configuration.maxRunning = running
            configuration.maxWaiting = 24
            driver = SchedulerDriver(blocks: blocks, context: 1024, rows: 96, configuration: configuration)
            random = SeededGenerator(seed: seed)
            self.prompts = prompts
        }

        mutating func step() {
            while driver.scheduler.queuedCount < 16 {
                next += 1
                let prompt = Int.random(in: prompts, using: &random)
                let output = Int.random(in: 1...30, using: &random)
                guard (try? driver.submit(next, prompt: prompt, output: output, .stream, at: driver.now)) != nil else {
                    break
                }
            }
            driver.step()
        }
    }

    /// Streams without end: a chat has its turn when its patience is over, a batch request later, each soon after it.
    @Test(arguments: 0..<2 as Range<UInt64>)
    func nobodyStarvesUnderAFloodOfStreams(seed: UInt64) throws {
        var flood = Flood(seed: seed, prompts: 10...120)
        for _ in 0..<40 { flood.step() }
        let start = flood.driver.now
        try flood.driver.submit(1, prompt: 50, output: 10, .batch, at: start)
        try flood.driver.submit(2, prompt: 50, output: 10, .chat, at: start)
        try flood.driver.submit(3, prompt: 800, output: 10, .batch, at: start)
        var ends: [UInt64: Double] = [:]
        for _ in 0..<20_000 where ends.count < 3 {
            flood.step()
            for id in [1, 2, 3] as [UInt64] where ends[id] == nil && flood.driver.ended.contains(id) {
                ends[id] = flood.driver.now - start
            }
        }
        let patience = SchedulerConfiguration.Patience()
        let chat = try #require(ends[2]), batch = try #require(ends[1]), long = try #require(ends[3])
        #expect(chat > patience.chat / 2)
        #expect(chat < patience.chat + 10)
        #expect(batch > patience.batch / 2)
        #expect(batch < patience.batch + 10)
        #expect(long < patience.batch + 20)
        #expect(flood.driver.violations.isEmpty)
    }

    /// Sixteen long prompts wait to be computed, for long already: a short one has its first token in the next step.
    @Test(arguments: [RequestPriority.stream, .chat, .batch])
    func aShortPromptDoesNotWaitForLongOnes(priority: RequestPriority) throws {
        var driver = SchedulerDriver(blocks: 1400, context: 2048, rows: 512)
        for id in 1...16 as ClosedRange<UInt64> { try driver.submit(id, prompt: 1200, output: 1, .stream) }
        for _ in 0..<15 { driver.step() }
        #expect(driver.firstTokenStep.count < 8)
        let before = driver.steps
        try driver.submit(100, prompt: 30, output: 1, .stream, at: driver.now)
        try driver.submit(101, prompt: 30, output: 1, priority, at: driver.now)
        driver.step { $0.firstTokenStep[101] != nil }
        #expect(driver.firstTokenStep[100] == before + 1)
        // Another class goes after the streams' prompts, but for its patience and no longer.
        #expect(priority == .stream ? driver.firstTokenStep[101] == before + 1 : driver.now < 61)
        #expect(driver.violations.isEmpty)
    }

    /// Short prompts fill every step; the long one that is due first still has its quarter.
    @Test func theOldestPromptHasAShareOfEveryStep() throws {
        var flood = Flood(seed: 3, prompts: 60...90, blocks: 200)
        try flood.driver.submit(1, prompt: 900, output: 1, .stream)
        let sequence = try #require(flood.driver.scheduler.sequences[1])
        // Its work counts as a later arrival for half a second.
        for _ in 0..<200 where !sequence.isRunning { flood.step() }
        var shares: [Int] = []
        while sequence.remaining > 1 {
            let before = sequence.computed
            flood.step()
            guard flood.driver.scheduler.sequences[1] != nil else { break }
            shares.append(sequence.computed - before)
        }
        #expect((shares.dropLast().min() ?? 0) >= 4)
        #expect(shares.count < 100)
        #expect(flood.driver.violations.isEmpty)
    }

    @Test func classesGoInOrderWhileTheyArePatient() throws {
        var driver = SchedulerDriver(blocks: 1000, context: 1024, rows: 64)
        for (id, priority) in [(1, .batch), (2, .chat), (3, .stream), (4, .batch), (5, .chat), (6, .stream)]
            as [(UInt64, RequestPriority)]
        {
            try driver.submit(id, prompt: 150, output: 1, priority, at: driver.now)
        }
        driver.runToEnd()
        #expect(driver.ended == [3, 6, 2, 5, 1, 4])
        #expect(driver.violations.isEmpty)
    }

    /// Unused slots are ends of last blocks only: below 4 % over 200 requests whose mean is above 256 tokens.
    @Test func littleOfTheAllocatedMemoryIsUnused() throws {
        var random = SeededGenerator(seed: 5)
        var configuration = SchedulerConfiguration()
        configuration.maxWaiting = 200
        configuration.maxRunning = 32
        var driver = SchedulerDriver(blocks: 1024, context: 2048, rows: 256, configuration: configuration)
        var tokens = 0
        for id in 1...200 as ClosedRange<UInt64> {
            let prompt = Int.random(in: 16...400, using: &random), output = Int.random(in: 16...160, using: &random)
            tokens += prompt + output
            try driver.submit(id, prompt: prompt, output: output)
        }
        #expect(tokens >= 256 * 200)
        var allocated = 0, unused = 0
        while driver.step() {
            allocated += (1024 - driver.scheduler.pool.freeCount) * BlockPool.blockSize
            unused += driver.scheduler.unusedSlots
        }
        #expect(Double(unused) < 0.04 * Double(allocated))
        #expect(driver.violations.isEmpty)
    }
}
