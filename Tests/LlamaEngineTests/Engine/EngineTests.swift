import Testing

@testable import LlamaEngine

@Suite struct EngineTests {
    /// The same requests under every kind of company, chunking and shortage: the tokens of the definition.
    @Test(arguments: [
        // blocks, rows, running
        (512, 256, 32), (512, 16, 8), (40, 64, 32), (14, 24, 16), (512, 64, 1),
    ])
    func tokensDoNotDependOnTheCompany(blocks: Int, rows: Int, running: Int) async throws {
        var scheduler = SchedulerConfiguration()
        scheduler.maxRunning = running
        let fixture = try EngineFixture(blocks: blocks, rows: rows, scheduler: scheduler)
        let requests = EngineFixture.mixed(40, seed: UInt64(blocks + rows))
        try await fixture.run(requests)
        for request in requests {
            #expect(fixture.log.tokens(of: request.id) == FakeForwardPass.expectedTokens(request))
            #expect(fixture.log.finish(of: request.id) == .length)
        }
        await fixture.engine.shutdown()
        let statistics = fixture.engine.statistics
        #expect(fixture.probe.violations.isEmpty)
        #expect(statistics.freeBlocks == blocks)
        #expect(statistics.integrityFaults == 0)
        #expect(statistics.finished == 40)
    }

    /// Computed again, or brought back from the second tier.
    @Test(arguments: [0, 1 << 20])
    func preemptedTurnsGoOnWithTheSameTokens(swapBytes: Int) async throws {
        let fixture = try EngineFixture(blocks: 20, swapBytes: swapBytes)
        let requests = EngineFixture.mixed(8, seed: 12, longest: 16).map { request in
            var longer = request
            longer.maxTokens = 100
            return longer
        }
        try await fixture.run(requests)
        for request in requests {
            #expect(fixture.log.tokens(of: request.id) == FakeForwardPass.expectedTokens(request))
        }
        await fixture.engine.shutdown()
        #expect(fixture.engine.statistics.preemptions > 0)
        #expect(swapBytes > 0 || fixture.engine.statistics.swapOuts == 0)
        #expect(fixture.probe.violations.isEmpty)
    }

    /// A conversation of four turns beside others: each prefills what the turn before did not have.
    @Test func aConversationPrefillsWhatIsNew() async throws {
        let fixture = try EngineFixture(contextLength: 1024)
        var prompt = (0..<100 as Range<Int32>).map { $0 % 97 }
        var sum = 0
        for id in 1...4 as ClosedRange<UInt64> {
            let request = GenerationRequest(
                id: id, prompt: prompt, maxTokens: 30, sampling: .greedy, cacheSalt: "a")
            try await fixture.run([request])
            #expect(fixture.log.tokens(of: id) == FakeForwardPass.expectedTokens(request))
            prompt += fixture.log.tokens(of: id) + (0..<11).map { Int32(id) * 7 + $0 }
            sum += request.prompt.count
        }
        var other = GenerationRequest(id: 9, prompt: prompt, maxTokens: 30, sampling: .greedy, cacheSalt: "b")
        try await fixture.run([other])
        other.id = 10
        other.cacheSalt = nil
        try await fixture.run([other])
        #expect(fixture.log.tokens(of: 9) == FakeForwardPass.expectedTokens(other))
        #expect(fixture.log.tokens(of: 10) == fixture.log.tokens(of: 9))
        await fixture.engine.shutdown()
        let statistics = fixture.engine.statistics
        // The last token of an answer and the next question's eleven.
        #expect(statistics.prefillRows == UInt64(100 + 3 * 12 + 2 * prompt.count))
        #expect(statistics.prefixTokensHit == UInt64(sum - 100 - 3 * 12))
        #expect(statistics.prefixTokensQueried == UInt64(sum + prompt.count))
        #expect(statistics.freeBlocks == 256)
        #expect(statistics.cachedBlocks > 0)
        #expect(statistics.integrityFaults == 0)
        #expect(fixture.probe.violations.isEmpty)
    }

    @Test func indexesRiseByOneAndOnlyTheLastEventHasAFinish() async throws {
        let fixture = try EngineFixture(blocks: 20)
        let requests = EngineFixture.mixed(20, seed: 1)
        try await fixture.run(requests)
        for request in requests {
            let events = fixture.log.events.filter { $0.request == request.id }
            #expect(events.map(\.index) == Array(0..<request.maxTokens))
            #expect(events.dropLast().allSatisfy { $0.finish == nil })
        }
        await fixture.engine.shutdown()
    }

    @Test func rowsWithPenaltiesAreDrawnTogetherWithTheOthers() async throws {
        let fixture = try EngineFixture(speculation: SpeculationConfiguration(mode: .off))
        var requests = EngineFixture.mixed(12, seed: 5)
        for index in requests.indices where index % 3 > 0 { requests[index].sampling.repetitionPenalty = 1.2 }
        try await fixture.run(requests)
        for request in requests {
            #expect(fixture.log.tokens(of: request.id) == FakeForwardPass.expectedTokens(request))
        }
        #expect(fixture.probe.draws == requests.reduce(0) { $0 + $1.maxTokens })
        await fixture.engine.shutdown()
    }

    @Test(arguments: [1, 2, 15, 16, 17, 29])
    func resumedTurnGoesOnAfterItsLoggedTokens(logged: Int) async throws {
        let fixture = try EngineFixture()
        var request = EngineFixture.mixed(1, seed: 8)[0]
        request.maxTokens = 30
        request.sampling = SamplingParameters(temperature: 1.2, repetitionPenalty: 1.3, frequencyPenalty: 0.4, seed: 77)
        let whole = FakeForwardPass.expectedTokens(request)
        request.outputSoFar = Array(whole.prefix(logged))
        try await fixture.run([request])
        let events = fixture.log.events
        #expect(events.map(\.index) == Array(logged..<30))
        #expect(events.map(\.token) == Array(whole.dropFirst(logged)))
        #expect(events.last?.finish == .length)
        await fixture.engine.shutdown()
    }

    @Test func resumedTurnWhoseLastTokenDiffersDiverges() async throws {
        let fixture = try EngineFixture()
        var request = EngineFixture.mixed(1, seed: 8)[0]
        request.maxTokens = 30
        request.outputSoFar = FakeForwardPass.expectedTokens(request, count: 10)
        request.outputSoFar[9] = (request.outputSoFar[9] + 1) % 97
        try await fixture.run([request])
        #expect(fixture.log.events.map(\.finish) == [.diverged])
        #expect(fixture.log.events.first?.index == 9)
        #expect(fixture.log.events.first?.token == TokenEvent.none)
        #expect(fixture.engine.statistics.diverged == 1)
        await fixture.engine.shutdown()
    }

    @Test func resumedTurnThatWasCompleteEndsWithoutAToken() async throws {
        let fixture = try EngineFixture()
        var request = EngineFixture.mixed(1, seed: 8)[0]
        request.outputSoFar = FakeForwardPass.expectedTokens(request)
        try await fixture.run([request])
        #expect(
            fixture.log.events == [
                TokenEvent(request: 1, index: request.maxTokens, token: TokenEvent.none, finish: .length)
            ])
        await fixture.engine.shutdown()
    }

    @Test func stopTokensAndEndOfTurnEndATurnAndAreEmitted() async throws {
        var request = EngineFixture.mixed(1, seed: 4)[0]
        request.maxTokens = 40
        request.sampling = SamplingParameters(temperature: 2, topK: 0, topP: 1, minP: 0, seed: 4)
        let whole = FakeForwardPass.expectedTokens(request)
        let end = try #require(whole.firstIndex(of: whole[12]))
        for ignoreEnd in [false, true] {
            let fixture = try EngineFixture(rules: StopRules(endTokens: [whole[12]]))
            request.ignoreEnd = ignoreEnd
            request.stopTokens = []
            try await fixture.run([request])
            #expect(fixture.log.tokens(of: 1) == (ignoreEnd ? whole : Array(whole[...end])))
            #expect(fixture.log.finish(of: 1) == (ignoreEnd ? .length : .stop))
            request.stopTokens = [whole[12]]
            request.id = 2
            try await fixture.run([request])
            #expect(fixture.log.finish(of: 2) == .stop)
            #expect(fixture.log.tokens(of: 2) == Array(whole[...end]))
            request.id = 1
            await fixture.engine.shutdown()
        }
    }

    @Test func stopTextEndsTheTurnAlsoWhenItBeganBeforeAResume() async throws {
        let rules = StopRules(detector: { ScalarStopDetector($0) })
        let fixture = try EngineFixture(rules: rules)
        var request = EngineFixture.mixed(1, seed: 4)[0]
        request.maxTokens = 40
        request.sampling = SamplingParameters(temperature: 2, topK: 0, topP: 1, minP: 0, seed: 4)
        let whole = FakeForwardPass.expectedTokens(request)
        let stop = whole[9...12].compactMap { Unicode.Scalar(UInt32($0)) }
        request.stop = ["\u{7f}never", stop.reduce(into: "") { $0.unicodeScalars.append($1) }]
        try await fixture.run([request])
        #expect(fixture.log.tokens(of: 1) == Array(whole[...12]))
        #expect(fixture.log.finish(of: 1) == .stop)
        request.id = 2
        request.outputSoFar = Array(whole[...10])
        try await fixture.run([request])
        #expect(fixture.log.tokens(of: 2) == Array(whole[11...12]))
        #expect(fixture.log.finish(of: 2) == .stop)
        await fixture.engine.shutdown()
    }
}
