import Testing

@testable import LlamaEngine

/// Turns with drafts in every step, whatever they cost: the tokens of the definition, whatever is guessed.
@Suite struct EngineSpeculationTests {
    private static func always(_ length: Int, _ mode: SpeculationMode = .lookup) -> SpeculationConfiguration {
        var configuration = SpeculationConfiguration(mode: mode)
        configuration.policy = .always(length)
        return configuration
    }

    private static let noCallback: FakeForwardPass.OnRun = { (_, _) throws(EngineError) in }

    /// Requests of all kinds, many of whose texts repeat themselves.
    private static func requests(_ count: Int, seed: UInt64, longest: Int = 120) -> [GenerationRequest] {
        EngineFixture.mixed(count, seed: seed, longest: longest).map { request in
            var request = request
            request.maxTokens += 20
            if request.id % 2 == 0 { request.sampling.temperature = 0.15 }
            if request.id % 5 == 0 { request.sampling = .greedy }
            if request.id % 3 == 0 { request.cacheSalt = "tenant" }
            return request
        }
    }

    @Test(arguments: [
        // draft, memory of the model, blocks, rows, running
        (1, 1, 512, 256, 32), (3, 1, 512, 64, 8), (7, 1, 60, 64, 32), (15, 1, 20, 40, 16), (15, 1, 512, 256, 1),
        (7, .max, 100, 33, 32),
    ])
    func lookupChangesNoToken(draft: Int, memory: Int, blocks: Int, rows: Int, running: Int) async throws {
        var scheduler = SchedulerConfiguration()
        scheduler.maxRunning = running
        let fixture = try EngineFixture(
            blocks: blocks, rows: rows, memory: memory, scheduler: scheduler, speculation: Self.always(draft))
        let requests = Self.requests(30, seed: UInt64(draft + blocks))
        try await fixture.run(requests)
        for request in requests {
            #expect(fixture.log.tokens(of: request.id) == FakeForwardPass.expectedTokens(request, memory: memory))
            #expect(fixture.log.finish(of: request.id) == .length)
        }
        await fixture.engine.shutdown()
        let statistics = fixture.engine.statistics
        #expect(fixture.probe.violations.isEmpty)
        #expect(statistics.freeBlocks == blocks)
        #expect(statistics.integrityFaults == 0)
        #expect(statistics.draftTokens > 0)
        if memory == 1 {
            // Both ways out of a draft were taken.
            #expect(statistics.draftTokensAccepted > 20)
            #expect(statistics.draftTokensAccepted < statistics.draftTokens)
        }
    }

    /// Events too: what ends a turn ends it inside a draft at the token where it would without one.
    @Test func stopsEndATurnInsideADraftWhereTheyWouldWithoutOne() async throws {
        let rules = StopRules(endTokens: [11, 12], detector: { ScalarStopDetector($0) })
        let requests = Self.requests(60, seed: 5, longest: 12).map { request in
            var request = request
            request.ignoreEnd = request.id % 4 == 0
            request.stopTokens = request.id % 3 == 0 ? [3, 4, 5] : []
            if request.id % 2 == 0 {
                let whole = FakeForwardPass.expectedTokens(request, memory: 1)
                let stop = whole[(whole.count / 2)...].prefix(3).compactMap { Unicode.Scalar(UInt32($0)) }
                request.stop = [stop.reduce(into: "") { $0.unicodeScalars.append($1) }]
            }
            return request
        }
        var events: [[UInt64: [TokenEvent]]] = []
        for speculation in [SpeculationConfiguration(mode: .off), Self.always(9)] {
            let fixture = try EngineFixture(memory: 1, rules: rules, speculation: speculation)
            try await fixture.run(requests)
            await fixture.engine.shutdown()
            events.append(Dictionary(grouping: fixture.log.events, by: \.request))
            #expect(fixture.engine.statistics.freeBlocks == 256)
            #expect(fixture.engine.statistics.integrityFaults == 0)
            #expect((fixture.engine.statistics.draftTokensAccepted > 100) == (speculation.mode == .lookup))
        }
        #expect(events[0] == events[1])
        let stopped = events[0].values.filter { $0.last?.finish == .stop }.count
        #expect(stopped > 10 && stopped < 60)
    }

    @Test(arguments: [1, 7, 16, 40])
    func aResumedTurnGoesOnWithDrafts(logged: Int) async throws {
        let fixture = try EngineFixture(memory: 1, speculation: Self.always(8))
        var request = Self.requests(1, seed: 3)[0]
        request.maxTokens = 60
        request.sampling = SamplingParameters(temperature: 0.3, repetitionPenalty: 1.05, seed: 7)
        let whole = FakeForwardPass.expectedTokens(request, memory: 1)
        request.outputSoFar = Array(whole.prefix(logged))
        try await fixture.run([request])
        #expect(fixture.log.tokens(of: 1) == Array(whole.dropFirst(logged)))
        #expect(fixture.log.events.map(\.index) == Array(logged..<60))
        await fixture.engine.shutdown()
    }

    @Test func aTurnCancelledAmongDraftsLeavesNothingBehind() async throws {
        let reference = EngineReference()
        let fixture = try EngineFixture(
            memory: 1, speculation: Self.always(6),
            onRun: { (step, _) throws(EngineError) in if step == 5 { reference.engine?.cancel(2) } })
        reference.set(fixture.engine)
        let requests = (1...4 as ClosedRange<UInt64>).map {
            GenerationRequest(id: $0, prompt: [Int32($0), 2, 3], maxTokens: 200, sampling: .greedy)
        }
        try await fixture.run(requests)
        for request in requests {
            let expected = FakeForwardPass.expectedTokens(request, memory: 1)
            let tokens = fixture.log.tokens(of: request.id)
            #expect(request.id == 2 ? expected.starts(with: tokens) : expected == tokens)
        }
        #expect(fixture.log.finish(of: 2) == .cancelled)
        reference.clear()
        await fixture.engine.shutdown()
        #expect(fixture.engine.statistics.freeBlocks == 256)
        #expect(fixture.engine.statistics.integrityFaults == 0)
    }

    @Test(arguments: [
        // memory of the draft model, its blocks, its rows
        (2, 512, 256), (2, 30, 8), (1, 512, 64), (1, 6, 20),
    ])
    func aDraftModelChangesNoToken(draftMemory: Int, draftBlocks: Int, draftRows: Int) async throws {
        let draftProbe = FakeForwardPass.Probe()
        let fixture = try EngineFixture(
            blocks: 80, memory: 2, speculation: Self.always(5, .draft),
            draftPass: FakeForwardPass(
                blocks: draftBlocks, contextLength: 150, maxRows: draftRows, memory: draftMemory, probe: draftProbe,
                onRun: Self.noCallback))
        let requests = Self.requests(24, seed: 31)
        try await fixture.run(requests)
        for request in requests {
            #expect(fixture.log.tokens(of: request.id) == FakeForwardPass.expectedTokens(request, memory: 2))
        }
        await fixture.engine.shutdown()
        #expect(fixture.probe.violations.isEmpty)
        #expect(draftProbe.violations.isEmpty)
        #expect(fixture.engine.statistics.draftTokens > 0)
        #expect(fixture.engine.statistics.integrityFaults == 0)
        #expect(fixture.engine.statistics.freeBlocks == 80)
    }

    /// A model that is its own draft: every guess is right, so the draft model's cache was in step at every place.
    @Test func aModelThatIsItsOwnDraftIsAlwaysRight() async throws {
        let draftProbe = FakeForwardPass.Probe()
        let fixture = try EngineFixture(
            speculation: Self.always(5, .draft),
            draftPass: FakeForwardPass(
                blocks: 256, contextLength: 512, maxRows: 64, probe: draftProbe, onRun: Self.noCallback))
        let requests = Self.requests(12, seed: 2).map { request in
            var request = request
            request.sampling = .greedy
            return request
        }
        try await fixture.run(requests)
        await fixture.engine.shutdown()
        let statistics = fixture.engine.statistics
        #expect(statistics.draftTokens > 200)
        #expect(statistics.draftTokensAccepted == statistics.draftTokens)
        #expect(draftProbe.violations.isEmpty)
    }

    @Test func aDraftModelThatFailsFailsNoTurn() async throws {
        let draftProbe = FakeForwardPass.Probe()
        let fixture = try EngineFixture(
            speculation: Self.always(5, .draft),
            draftPass: FakeForwardPass(
                blocks: 256, contextLength: 512, maxRows: 64, probe: draftProbe,
                onRun: { (step, _) throws(EngineError) in
                    if step == 3 { throw .nonFiniteLogits(outputs: [0]) }
                    if step == 9 { throw .invalidBatch(field: "tokens", reason: "made to fail") }
                }))
        let requests = Self.requests(6, seed: 2)
        try await fixture.run(requests)
        for request in requests {
            #expect(fixture.log.tokens(of: request.id) == FakeForwardPass.expectedTokens(request))
        }
        await fixture.engine.shutdown()
        #expect(draftProbe.stepRows.count == 9)
        #expect(fixture.engine.statistics.failed == 0)
    }

    @Test func aDraftModelThatIsMissingIsRefused() throws {
        #expect(throws: EngineError.self) { try EngineFixture(speculation: Self.always(1, .draft)) }
    }

    /// Models of one family fill up their embeddings to different sizes: what only one of them has is never guessed, and a text
    /// that has it is not shown to the one without.
    @Test(arguments: [225, 98, 96, 60])
    func aDraftModelWithOtherPaddingChangesNoToken(draftVocabulary: Int) async throws {
        let draftProbe = FakeForwardPass.Probe()
        let fixture = try EngineFixture(
            memory: 2, speculation: Self.always(5, .draft),
            draftPass: FakeForwardPass(
                vocabulary: draftVocabulary, blocks: 512, contextLength: 512, maxRows: 64, memory: 2, probe: draftProbe,
                onRun: Self.noCallback))
        var requests = Self.requests(24, seed: 31)
        // Some stay among the tokens that both have.
        for index in requests.indices where index % 2 == 0 { requests[index].prompt = [5, 6, 7, 8] }
        try await fixture.run(requests)
        for request in requests {
            #expect(fixture.log.tokens(of: request.id) == FakeForwardPass.expectedTokens(request, memory: 2))
        }
        await fixture.engine.shutdown()
        #expect(fixture.probe.violations.isEmpty && draftProbe.violations.isEmpty)
        #expect(fixture.engine.statistics.draftTokens > 0)
        #expect(fixture.engine.statistics.failed == 0)
    }
}
