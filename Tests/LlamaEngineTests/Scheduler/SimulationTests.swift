import SeededRandom
import Testing

@testable import LlamaEngine

/// The scheduler over the fake forward pass, single-threaded and repeatable: arrivals, lengths, classes, shared beginnings,
/// cancellations and drafts at random, few blocks. After every step the books balance; in the end everybody has the tokens of a
/// run alone.
@Suite struct SimulationTests {
    private final class Simulation {
        let scheduler: Scheduler
        let pass: FakeForwardPass
        let probe = FakeForwardPass.Probe()
        let sampler = Sampler(vocabulary: 97)
        var requests: [UInt64: GenerationRequest] = [:]
        var expected: [UInt64: [Int32]] = [:]
        var outputs: [UInt64: [Int32]] = [:]
        var ends: [UInt64: Int] = [:]
        var now = 0.0
        var batch = StepBatch()
        var draftsAccepted = 0
        private var swapped: [[UInt8]]

        init(blocks: Int, rows: Int, configuration: SchedulerConfiguration, hashMask: UInt64, swapSlots: Int) {
            scheduler = Scheduler(configuration: configuration, blockCount: blocks, contextLength: 256, maxRows: rows)
            scheduler.pool = BlockPool(blockCount: blocks, hashMask: hashMask)
            pass = FakeForwardPass(
                blocks: blocks, contextLength: 256, maxRows: rows, probe: probe,
                onRun: { (_, _) throws(EngineError) in })
            swapped = Array(repeating: Array(repeating: 0, count: pass.blockBytes), count: swapSlots)
            scheduler.swap = SwapSpace(byteCount: swapSlots * pass.blockBytes, blockBytes: pass.blockBytes)
        }

        func submit(_ request: GenerationRequest) throws(EngineError) {
            try scheduler.submit(
                id: request.id, tokens: request.prompt, maximumTokens: request.prompt.count + request.maxTokens,
                priority: request.priority, arrival: now, salt: request.cacheSalt)
            requests[request.id] = request
            expected[request.id] = FakeForwardPass.expectedTokens(request)
        }

        func end(_ id: UInt64) {
            #expect(scheduler.finish(id))
            ends[id, default: 0] += 1
        }

        func step(_ random: inout SeededGenerator) throws {
            for sequence in Array(scheduler.decoding) where Int.random(in: 0..<3, using: &random) > 0 {
                let known = outputs[sequence.id]?.count ?? 0
                var drafts = Array(
                    expected[sequence.id]?[known...].prefix(Int.random(in: 0...20, using: &random)) ?? [])
                if let wrong = drafts.indices.randomElement(using: &random), Bool.random(using: &random) {
                    drafts[wrong] ^= 1
                }
                scheduler.propose(drafts, for: sequence.id)
            }
            let plan = scheduler.plan(now: now)
            #expect(!plan.isEmpty)
            #expect(plan.rows <= scheduler.configuration.maxStepRows)
            for move in plan.moves { carryOut(move) }
            plan.fill(&batch)
            try pass.run(batch)
            let seconds = 0.004 + 0.0005 * Double(plan.rows)
            now += seconds
            scheduler.commit(plan, seconds: seconds)
            try scheduler.verify()
            var output = 0
            for item in plan.work {
                take(item, output)
                output += item.outputs
            }
            try scheduler.verify()
        }

        private func carryOut(_ move: BlockMove) {
            switch move {
            case .copy(let copy): pass.copyBlock(from: copy.from, to: copy.to)
            case .swapOut(let block, let slot):
                swapped[Int(slot)].withUnsafeMutableBytes { bytes in
                    if let base = bytes.baseAddress { pass.saveBlock(block, to: base) }
                }
            case .swapIn(let slot, let block):
                swapped[Int(slot)].withUnsafeBytes { bytes in
                    if let base = bytes.baseAddress { pass.restoreBlock(block, from: base) }
                }
            }
        }

        private func take(_ item: StepPlan.Work, _ first: Int) {
            let id = item.sequence.id
            guard let request = requests[id] else { return }
            for offset in 0..<item.outputs {
                let token = sampler.sample(
                    pass.logits(first + offset), parameters: request.sampling, penalties: nil,
                    outputIndex: outputs[id]?.count ?? 0)
                guard let token else { return }
                let isVerified = offset < item.drafts.count && item.drafts[offset] == token
                scheduler.append(token, to: id, verifiesDraft: isVerified)
                draftsAccepted += isVerified ? 1 : 0
                outputs[id, default: []].append(token)
                if outputs[id]?.count == request.maxTokens { return end(id) }
                guard isVerified else { return }
            }
        }
    }

    private static func request(_ id: UInt64, _ beginnings: [[Int32]], longest: Int, _ random: inout SeededGenerator)
        -> GenerationRequest
    {
        let own = (0..<Int.random(in: 1...40, using: &random)).map { _ in Int32.random(in: 0..<97, using: &random) }
        let beginning = beginnings.randomElement(using: &random) ?? []
        let prompt = Array(
            (beginning.prefix(Int.random(in: 0...beginning.count, using: &random)) + own).prefix(longest - 1))
        return GenerationRequest(
            id: id, prompt: prompt, maxTokens: Int.random(in: 1...min(50, longest - prompt.count), using: &random),
            sampling: Bool.random(using: &random) ? .greedy : SamplingParameters(temperature: 1, seed: random.next()),
            priority: RequestPriority.allCases.randomElement(using: &random) ?? .chat,
            cacheSalt: ["a", "a", "b", nil].randomElement(using: &random) ?? nil)
    }

    @Test(arguments: 0..<16 as Range<UInt64>)
    func everybodyEndsOnceWithTheTokensOfARunAlone(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var configuration = SchedulerConfiguration()
        configuration.maxRunning = Int.random(in: 1...10, using: &random)
        configuration.maxWaiting = 20
        configuration.minimumPrefillRows = Int.random(in: 1...16, using: &random)
        let blocks = Int.random(in: 7...24, using: &random)
        let simulation = Simulation(
            blocks: blocks, rows: Int.random(in: 10...64, using: &random), configuration: configuration,
            hashMask: seed % 4 == 3 ? 7 : .max, swapSlots: seed % 2 == 0 ? 0 : Int.random(in: 1...40, using: &random))
        let beginnings = (0..<3).map { _ in (0..<70).map { _ in Int32.random(in: 0..<97, using: &random) } }
        var accepted: Set<UInt64> = []
        var cancelled: Set<UInt64> = []
        for id in 1...60 as ClosedRange<UInt64> {
            do throws(EngineError) {
                try simulation.submit(Self.request(id, beginnings, longest: min(256, blocks * 16), &random))
                accepted.insert(id)
            } catch { guard case .overloaded = error else { throw error } }
            for _ in 0..<Int.random(in: 0...5, using: &random) where !simulation.scheduler.isIdle {
                try simulation.step(&random)
            }
            if Int.random(in: 0..<6, using: &random) == 0,
                let victim = simulation.scheduler.sequences.keys.sorted().randomElement(using: &random)
            {
                simulation.end(victim)
                try simulation.scheduler.verify()
                cancelled.insert(victim)
            }
        }
        for _ in 0..<20_000 where !simulation.scheduler.isIdle { try simulation.step(&random) }
        #expect(simulation.scheduler.isIdle)
        #expect(simulation.probe.violations.isEmpty)
        #expect(simulation.scheduler.pool.freeCount == blocks)
        #expect(simulation.scheduler.swap.freeSlots.count == simulation.scheduler.swap.slotCount)
        #expect(Set(simulation.ends.keys) == accepted)
        #expect(simulation.ends.values.allSatisfy { $0 == 1 })
        for id in accepted.subtracting(cancelled) { #expect(simulation.outputs[id] == simulation.expected[id]) }
        #expect(simulation.draftsAccepted > 0)
        #expect(simulation.scheduler.prefixTokens.hit > 0)
    }
}
