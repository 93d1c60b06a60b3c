import Foundation
import Testing

@testable import LlamaEngine

@Suite struct EngineFailureTests {
    private static func request(_ id: UInt64, tokens: Int = 20) -> GenerationRequest {
        GenerationRequest(id: id, prompt: [Int32(id), 2, 3], maxTokens: tokens, sampling: .greedy)
    }

    /// Holds the engine before its first step until the test has set its scene.
    private static func held(_ gate: DispatchSemaphore) -> FakeForwardPass.OnRun {
        { (step, _) throws(EngineError) in if step == 1 { gate.wait() } }
    }

    @Test func cancelledTurnIsGoneFromTheNextStepAndNeighboursGoOn() async throws {
        let reference = EngineReference()
        let gate = DispatchSemaphore(value: 0)
        let fixture = try EngineFixture(onRun: { (step, batch) throws(EngineError) in
            if step == 1 { gate.wait() }
            if step == 6 { reference.engine?.cancel(2) }
        })
        reference.set(fixture.engine)
        // All three enter in the first step with the second's mail at the latest.
        for id in 1...3 { try fixture.engine.submit(Self.request(UInt64(id))) }
        gate.signal()
        await fixture.log.waitForEnd(of: [1, 2, 3])
        let events = fixture.log.events.filter { $0.request == 2 }
        // The token of step 6 was under way; step 7 has no row of it.
        #expect((5...6).contains(events.count { $0.token != TokenEvent.none }))
        #expect(events.last?.finish == .cancelled)
        #expect(events.last?.index == events.count - 1)
        for id in [1, 3] as [UInt64] {
            #expect(fixture.log.tokens(of: id) == FakeForwardPass.expectedTokens(Self.request(id)))
        }
        reference.clear()
        await fixture.engine.shutdown()
        #expect(fixture.engine.statistics.freeBlocks == 256)
        #expect(fixture.engine.statistics.integrityFaults == 0)
    }

    /// In the queue, in the middle of its prompt, and decoding: the step after the cancellation has no row of it, and its blocks
    /// are free when that step has been.
    @Test func cancellationFreesTheBlocksWithinOneStep() async throws {
        let reference = EngineReference()
        let free = FreeBlocks()
        var scheduler = SchedulerConfiguration()
        scheduler.maxRunning = 2
        let gate = DispatchSemaphore(value: 0)
        let prompts: [UInt64: Int] = [1: 40, 2: 300, 3: 200]
        let fixture = try EngineFixture(rows: 32, scheduler: scheduler) { (step, batch) throws(EngineError) in
            if step == 1 { gate.wait() }
            // What was free after the step before, and the sequences of this one by their first block.
            free.record(step, reference.engine?.statistics.freeBlocks ?? -1, batch.sequenceCount)
            switch step {
            case 5: reference.engine?.cancel(3)
            case 7: reference.engine?.cancel(2)
            case 9: reference.engine?.cancel(1)
            default: break
            }
        }
        reference.set(fixture.engine)
        for id in 1...3 as ClosedRange<UInt64> {
            try fixture.engine.submit(
                GenerationRequest(
                    id: id, prompt: Array(repeating: Int32(id), count: prompts[id] ?? 1), maxTokens: 100,
                    sampling: .greedy))
        }
        gate.signal()
        await fixture.log.waitForEnd(of: [1, 2, 3])
        for id in 1...3 as ClosedRange<UInt64> { #expect(fixture.log.finish(of: id) == .cancelled) }
        #expect(fixture.log.tokens(of: 2).isEmpty && fixture.log.tokens(of: 3).isEmpty)
        #expect(fixture.log.tokens(of: 1).count > 2)
        // Step 9 still had the first one, with its 40 tokens and what came: three blocks of 256 and none of the other two.
        #expect(free.at[9]?.blocks == 253)
        #expect(free.at[8]?.sequences == 1)
        #expect(free.at[10] == nil)
        reference.clear()
        await fixture.engine.shutdown()
        #expect(fixture.engine.statistics.freeBlocks == 256)
        #expect(fixture.engine.statistics.integrityFaults == 0)
    }

    private final class FreeBlocks: @unchecked Sendable {  // guarded by `lock`
        private let lock = NSLock()
        private var recorded: [Int: (blocks: Int, sequences: Int)] = [:]
        var at: [Int: (blocks: Int, sequences: Int)] { lock.withLock { recorded } }
        func record(_ step: Int, _ blocks: Int, _ sequences: Int) {
            lock.withLock { recorded[step] = (blocks, sequences) }
        }
    }

    @Test func cancelBeforeTheFirstStepAndOfUnknownIds() async throws {
        let gate = DispatchSemaphore(value: 0)
        let fixture = try EngineFixture(onRun: Self.held(gate))
        try fixture.engine.submit(Self.request(1))
        try fixture.engine.submit(Self.request(2))
        fixture.engine.cancel(2)
        fixture.engine.cancel(2)
        fixture.engine.cancel(99)
        gate.signal()
        await fixture.log.waitForEnd(of: [1, 2])
        #expect(fixture.log.events.filter { $0.request == 2 }.map(\.finish).filter { $0 != nil } == [.cancelled])
        #expect(fixture.log.finish(of: 1) == .length)
        await fixture.engine.shutdown()
    }

    @Test func nonFiniteLogitsFailTheirTurnOnly() async throws {
        let fixture = try EngineFixture(onRun: { (_, batch) throws(EngineError) in
            for (output, row) in batch.outputRows.enumerated() where batch.positions[Int(row)] == 7 {
                let table = Int(batch.blockTableStart[Int(batch.sequences[Int(row)])])
                // The block of the turn that came second; blocks are given out in ascending order.
                if batch.blockTables[table] == 1 { throw .nonFiniteLogits(outputs: [output]) }
            }
        })
        try await fixture.run((1...4).map { Self.request($0) })
        let failed = (1...4).filter { fixture.log.finish(of: UInt64($0)) == .failed }
        #expect(failed.count == 1)
        #expect(fixture.engine.statistics.failed == 1)
        for id in (1...4 as ClosedRange<UInt64>) where !failed.contains(Int(id)) {
            #expect(fixture.log.finish(of: id) == .length)
        }
        await fixture.engine.shutdown()
        #expect(fixture.engine.statistics.freeBlocks == 256)
    }

    @Test func aFailedForwardPassFailsTheTurnsOfItsStepAndTheEngineGoesOn() async throws {
        let fixture = try EngineFixture(onRun: { (step, _) throws(EngineError) in
            if step == 4 { throw .invalidBatch(field: "tokens", reason: "made to fail") }
        })
        try await fixture.run([Self.request(1)])
        #expect(fixture.log.finish(of: 1) == .failed)
        #expect(fixture.log.events.last?.reason?.contains("made to fail") == true)
        try await fixture.run([Self.request(2)])
        #expect(fixture.log.tokens(of: 2) == FakeForwardPass.expectedTokens(Self.request(2)))
        await fixture.engine.shutdown()
        #expect(fixture.engine.statistics.freeBlocks == 256)
    }

    @Test func overloadIsSaidAtOnce() async throws {
        let gate = DispatchSemaphore(value: 0)
        var scheduler = SchedulerConfiguration()
        scheduler.maxRunning = 1
        scheduler.maxWaiting = 3
        let fixture = try EngineFixture(scheduler: scheduler, onRun: Self.held(gate))
        var accepted: [UInt64] = []
        var refused = 0
        for id in 1...20 as ClosedRange<UInt64> {
            do throws(EngineError) {
                try fixture.engine.submit(Self.request(id))
                accepted.append(id)
            } catch {
                guard case .overloaded = error else { throw error }
                refused += 1
            }
        }
        // One may have begun to run before the gate closed behind it.
        #expect((3...4).contains(accepted.count))
        #expect(refused == 20 - accepted.count)
        gate.signal()
        await fixture.log.waitForEnd(of: accepted)
        try await fixture.run([Self.request(50)])
        await fixture.engine.shutdown()
    }

    @Test func hostileRequestsAreRefusedByField() async throws {
        let fixture = try EngineFixture(blocks: 8, contextLength: 256)
        func field(_ change: (inout GenerationRequest) -> Void) -> String? {
            var request = Self.request(1)
            change(&request)
            do throws(EngineError) { try fixture.engine.submit(request) } catch {
                if case .invalidRequest(let field, _) = error { return field }
            }
            return nil
        }
        #expect(field { $0.prompt = [] } == "prompt")
        #expect(field { $0.prompt = [1, 97] } == "prompt")
        #expect(field { $0.prompt = [-1] } == "prompt")
        #expect(field { $0.maxTokens = 0 } == "max_tokens")
        #expect(field { $0.maxTokens = .max } == "max_tokens")
        #expect(field { $0.maxTokens = 254 } == "max_tokens")
        #expect(field { $0.maxTokens = 130 } == "max_tokens")
        #expect(field { $0.outputSoFar = Array(repeating: 1, count: 21) } == "output_so_far")
        #expect(field { $0.outputSoFar = [97] } == "output_so_far")
        #expect(field { $0.sampling.temperature = .nan } == "temperature")
        #expect(field { $0.stop = ["x"] } == "stop")
        #expect(field { $0.stop = [""] } == "stop")
        #expect(field { $0.stop = Array(repeating: "x", count: 17) } == "stop")
        #expect(field { $0.stopTokens = Set(0..<300) } == "stop_tokens")
        #expect(field { $0.arrival = .nan } == "arrival")
        #expect(field { $0.cacheSalt = String(repeating: "x", count: 513) } == "cache_salt")
        #expect(fixture.log.events.isEmpty)
        await fixture.engine.shutdown()
    }

    @Test func anIdInProgressIsRefusedAndFreeAfterItsEnd() async throws {
        let gate = DispatchSemaphore(value: 0)
        let fixture = try EngineFixture(onRun: Self.held(gate))
        try fixture.engine.submit(Self.request(1))
        #expect(throws: EngineError.self) { try fixture.engine.submit(Self.request(1)) }
        gate.signal()
        await fixture.log.waitForEnd(of: [1])
        try fixture.engine.submit(Self.request(1))
        await fixture.engine.shutdown(.drain)
        #expect(fixture.log.events.count { $0.finish == .length } == 2)
    }

    @Test func shutdownAtOnceInterruptsAndDrainFinishes() async throws {
        for mode in [ShutdownMode.atOnce, .drain] {
            let gate = DispatchSemaphore(value: 0)
            let fixture = try EngineFixture(onRun: Self.held(gate))
            for id in 1...5 as ClosedRange<UInt64> { try fixture.engine.submit(Self.request(id)) }
            async let ended: Void = fixture.engine.shutdown(mode)
            // The first step is held until the shutdown is known.
            while true {
                do throws(EngineError) { try fixture.engine.submit(Self.request(6)) } catch .shutDown { break } catch {}
                await Task.yield()
            }
            gate.signal()
            await ended
            for id in 1...5 as ClosedRange<UInt64> {
                let finish = fixture.log.finish(of: id)
                if case .drain = mode { #expect(finish == .length) } else { #expect(finish == .interrupted) }
            }
            #expect(throws: EngineError.shutDown) { try fixture.engine.submit(Self.request(7)) }
            #expect(fixture.engine.statistics.freeBlocks == 256)
        }
    }

    /// The books are checked whole when nothing has come for a while, once for what has run.
    @Test func idleEnginesCheckTheirBooks() async throws {
        let fixture = try EngineFixture(blocks: 4096)
        let requests = EngineFixture.mixed(20, seed: 4).map { request in
            var request = request
            request.cacheSalt = "tenant"
            return request
        }
        try await fixture.run(requests)
        while fixture.engine.statistics.integrityChecks < 1 { await Task.yield() }
        #expect(fixture.engine.statistics.cachedBlocks > 0)
        try await fixture.run([Self.request(50)])
        while fixture.engine.statistics.integrityChecks < 2 { await Task.yield() }
        #expect(fixture.engine.statistics.integrityFaults == 0)
        await fixture.engine.shutdown()
    }

    @Test func booksThatDoNotBalanceAreFoundAndMadeAnew() throws {
        let scheduler = Scheduler(configuration: .init(), blockCount: 4, contextLength: 64, maxRows: 16)
        _ = scheduler.pool.allocate()
        #expect(throws: IntegrityFault.self) { try scheduler.verify() }
        scheduler.resetPool()
        try scheduler.verify()
        #expect(scheduler.pool.freeCount == 4)
    }
}
