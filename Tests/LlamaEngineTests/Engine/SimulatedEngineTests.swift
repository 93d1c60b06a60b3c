import SeededRandom
import Testing

@testable import LlamaEngine

@Suite struct SimulatedEngineTests {
    private static func make(
        _ log: EventLog, ttft: Double = 1, itl: Double = 0.5, requests: Int = 10_000
    ) throws -> SimulatedEngine {
        var configuration = SimulatedEngine.Configuration()
        configuration.timeToFirstToken = ttft
        configuration.interTokenLatency = itl
        configuration.maxRequests = requests
        return try SimulatedEngine(configuration: configuration) { log.append($0) }
    }

    private static func request(_ id: UInt64, tokens: Int = 8) -> GenerationRequest {
        GenerationRequest(id: id, prompt: [1], maxTokens: tokens, sampling: .init(seed: id % 7))
    }

    @Test func thousandsOfSequencesGetAllTheirTokensInOrder() async throws {
        let log = EventLog()
        let engine = try Self.make(log, ttft: 20)
        for id in 1...3000 as ClosedRange<UInt64> { try engine.submit(Self.request(id)) }
        await engine.shutdown(.drain)
        var next: [UInt64: Int] = [:]
        var tokens: [UInt64: [Int32]] = [:]
        for event in log.events {
            #expect(event.index == next[event.request, default: 0])
            next[event.request, default: 0] += 1
            tokens[event.request, default: []].append(event.token)
            #expect((event.finish == .length) == (event.index == 7))
        }
        #expect(next.count == 3000)
        #expect(next.values.allSatisfy { $0 == 8 })
        #expect(tokens[1] == tokens[8])
        #expect(tokens[1] != tokens[2])
    }

    @Test func tokensComeNoEarlierThanTheirTimes() async throws {
        let log = EventLog()
        let engine = try Self.make(log, ttft: 30, itl: 10)
        let start = MonotonicClock.seconds
        try engine.submit(Self.request(1, tokens: 4))
        await log.waitForEnd(of: [1])
        #expect(MonotonicClock.seconds - start >= 0.06)
        await engine.shutdown()
    }

    @Test func resumeGoesOnAndDivergesLikeTheEngine() async throws {
        let log = EventLog()
        let engine = try Self.make(log)
        try engine.submit(Self.request(1))
        await log.waitForEnd(of: [1])
        let whole = log.tokens(of: 1)
        var resumed = Self.request(8)
        resumed.outputSoFar = Array(whole.prefix(3))
        try engine.submit(resumed)
        await log.waitForEnd(of: [8])
        #expect(log.tokens(of: 8) == Array(whole.dropFirst(3)))
        resumed.id = 15
        resumed.outputSoFar[2] += 1
        try engine.submit(resumed)
        await log.waitForEnd(of: [15])
        #expect(log.finish(of: 15) == .diverged)
        await engine.shutdown()
    }

    @Test func cancelOverloadAndShutdown() async throws {
        let log = EventLog()
        let engine = try Self.make(log, ttft: 1e9, requests: 3)
        for id in 1...3 as ClosedRange<UInt64> { try engine.submit(Self.request(id)) }
        #expect {
            try engine.submit(Self.request(4))
        } throws: {
            if case .overloaded = $0 as? EngineError { true } else { false }
        }
        engine.cancel(2)
        await log.waitForEnd(of: [2])
        #expect(log.finish(of: 2) == .cancelled)
        try engine.submit(Self.request(4))
        await engine.shutdown()
        for id in [1, 3, 4] as [UInt64] { #expect(log.finish(of: id) == .interrupted) }
        #expect(throws: EngineError.shutDown) { try engine.submit(Self.request(5)) }
        #expect(throws: EngineError.self) { try Self.make(log, ttft: -1) }
    }

    /// The entries of ended sequences do not pile up behind a time far away.
    @Test func timetableStaysInOrderAndBounded() {
        var timetable = Timetable()
        var random = SeededGenerator(seed: 1)
        for id in 0..<500 as Range<UInt64> {
            _ = timetable.insert(id: id, time: Double.random(in: 0..<100, using: &random))
        }
        timetable.removeAll { $0.id % 3 == 0 }
        let due = timetable.removeAll(until: 50)
        #expect(due.map(\.time) == due.map(\.time).sorted())
        #expect(due.allSatisfy { $0.time <= 50 && $0.id % 3 != 0 })
        let rest = timetable.removeAll(until: 100)
        #expect(due.count + rest.count == 333)
        #expect(timetable.first == nil)
    }
}
