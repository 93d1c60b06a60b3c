import Foundation
import ModelFile
import SeededRandom
import Testing

@testable import LlamaEngine

/// The engine on a real model: company, threads, chunks and preemptions change neither tokens nor a bit of the logits.
@Suite(.enabled(if: DefaultModel.isPresent, Comment(rawValue: DefaultModel.missing)))
struct RealModelTests {
    private static let blocks = 512

    /// One long prompt, one short one, and sixteen others of mixed length, class and sampling.
    private static func requests(_ tokenizer: Tokenizer) -> [GenerationRequest] {
        let texts = [
            "Once upon a time", "The capital of France is", "def fibonacci(n):\n    ", "Liebe Grüße aus Köln! 🙂 Heute",
            "1, 1, 2, 3, 5, 8,", "東京は日本の", "Dear Sir or Madam,\n\nI am writing to", "<html><body><h1>",
        ]
        var random = SeededGenerator(seed: 17)
        return (1...18 as ClosedRange<UInt64>).map { id in
            let text = String(repeating: texts[Int(id) % texts.count] + " ", count: id == 1 ? 40 : Int(id) % 7 + 1)
            return GenerationRequest(
                id: id, prompt: tokenizer.encode(text, parseSpecial: false),
                // The long ones outgrow what admission left free in the run with few blocks.
                maxTokens: (2...5).contains(id) ? 70 : Int.random(in: 6...14, using: &random),
                sampling: id % 3 == 0
                    ? SamplingParameters(temperature: 1, frequencyPenalty: 0.2, seed: random.next()) : .greedy,
                ignoreEnd: true, priority: RequestPriority.allCases.randomElement(using: &random) ?? .chat)
        }
    }

    private struct Outcome {
        var tokens: [UInt64: [Int32]] = [:]
        var bits: [[Int32]: UInt64] = [:]
        var statistics = EngineStatistics()
    }

    private static func run(
        _ model: LlamaModel, _ tokenizer: Tokenizer, requests: [GenerationRequest]? = nil, threads: Int, rows: Int,
        running: Int, blocks: Int = blocks, speculation: SpeculationConfiguration = .init(mode: .off),
        swapBytes: Int = 0
    ) async throws -> Outcome {
        let log = EventLog()
        let recording = RecordingForwardPass.Recording()
        var scheduler = SchedulerConfiguration()
        scheduler.maxRunning = running
        var configuration = EngineConfiguration(scheduler: scheduler, speculation: speculation)
        configuration.swapBytes = swapBytes
        let engine = try Engine(
            makeForwardPass: {
                let pass = try model.makeForwardPass()
                pass.activeThreads = threads
                return RecordingForwardPass(pass, blocks: blocks, rows: rows, recording: recording)
            }, tokenizer: tokenizer, configuration: configuration, onStep: log.append)
        let requests = requests ?? Self.requests(tokenizer)
        for request in requests { try engine.submit(request) }
        await engine.shutdown(.drain)
        var outcome = Outcome(bits: recording.bits, statistics: engine.statistics)
        for request in requests {
            outcome.tokens[request.id] = log.tokens(of: request.id)
            #expect(log.finish(of: request.id) == .length)
        }
        #expect(outcome.statistics.freeBlocks == blocks)
        #expect(outcome.statistics.integrityFaults == 0)
        return outcome
    }

    @Test func companyThreadsChunksAndPreemptionsChangeNoBit() async throws {
        let file = try GGUFFile(path: #require(DefaultModel.path))
        let tokenizer = try Tokenizer(file: file)
        let model = try LlamaModel(
            file: file, options: ModelOptions(threads: 2, maxRows: 512, kvBlocks: Self.blocks))
        let alone = try await Self.run(model, tokenizer, threads: 1, rows: 512, running: 1)
        let others = [
            try await Self.run(model, tokenizer, threads: 2, rows: 512, running: 1),
            try await Self.run(model, tokenizer, threads: 2, rows: 512, running: 18),
            try await Self.run(model, tokenizer, threads: 1, rows: 27, running: 18),
            try await Self.run(model, tokenizer, threads: 2, rows: 64, running: 18, blocks: 20),
        ]
        for other in others {
            #expect(other.tokens == alone.tokens)
            #expect(!other.bits.isEmpty)
            #expect(other.bits == alone.bits)
        }
        #expect(others.last.map { $0.statistics.preemptions > 0 } == true)
    }

    /// Beginnings that are shared, cut in the middle of a block, and taken over while they are computed.
    @Test func blocksOfOthersChangeNoBit() async throws {
        let file = try GGUFFile(path: #require(DefaultModel.path))
        let tokenizer = try Tokenizer(file: file)
        let model = try LlamaModel(
            file: file, options: ModelOptions(threads: 2, maxRows: 512, kvBlocks: Self.blocks))
        let system = tokenizer.encode(
            String(repeating: "You answer questions about trains, briefly and kindly. ", count: 6), parseSpecial: false)
        var random = SeededGenerator(seed: 23)
        var requests: [GenerationRequest] = []
        for (id, question) in ["When", "When does", "When does it leave?", "Where", "Why? ", "When does it"]
            .enumerated()
        {
            for copy in 0..<2 {
                requests.append(
                    GenerationRequest(
                        id: UInt64(1 + id * 2 + copy),
                        prompt: system.prefix(60 - id / 3 * 7) + tokenizer.encode(question, parseSpecial: false),
                        maxTokens: 10 + 8 * id,
                        sampling: id % 2 == 0 ? .greedy : SamplingParameters(temperature: 1, seed: random.next()),
                        ignoreEnd: true, cacheSalt: "tenant"))
            }
        }
        let apart = requests.map { request in
            var request = request
            request.cacheSalt = nil
            return request
        }
        let alone = try await Self.run(model, tokenizer, requests: apart, threads: 2, rows: 512, running: 1)
        #expect(alone.statistics.prefixTokensHit == 0)
        for (rows, running, blocks, swap) in [
            (512, 1, Self.blocks, 0), (512, 12, Self.blocks, 0), (20, 12, 60, 0), (64, 12, 10, 0),
            (64, 12, 10, 64 << 20),
        ] {
            let shared = try await Self.run(
                model, tokenizer, requests: requests, threads: 2, rows: rows, running: running, blocks: blocks,
                swapBytes: swap)
            // Whether moving blocks is cheaper than computing them again is measured, so it may differ from run to run.
            #expect(swap > 0 || shared.statistics.swapOuts == 0)
            #expect(shared.tokens == alone.tokens)
            let sameBits = shared.bits == alone.bits
            #expect(sameBits)
            #expect(shared.statistics.prefixTokensHit > 200)
            #expect(blocks != 10 || shared.statistics.preemptions > 0)
        }
    }

    /// With drafts in every step: the same tokens, and the same bits of the logits at every place that the plain run came to.
    @Test func draftsChangeNoBit() async throws {
        let file = try GGUFFile(path: #require(DefaultModel.path))
        let tokenizer = try Tokenizer(file: file)
        let model = try LlamaModel(
            file: file, options: ModelOptions(threads: 2, maxRows: 512, kvBlocks: Self.blocks))
        let requests = Self.requests(tokenizer).prefix(9).map { request in
            var request = request
            request.maxTokens = max(request.maxTokens, 40)
            request.cacheSalt = request.id % 2 == 0 ? "tenant" : nil
            return request
        }
        let plain = try await Self.run(model, tokenizer, requests: requests, threads: 2, rows: 512, running: 9)
        for (length, rows, running, blocks) in [(15, 512, 1, 512), (4, 512, 9, 512), (7, 64, 9, 18)] {
            var speculation = SpeculationConfiguration(mode: .lookup)
            speculation.policy = .always(length)
            let drafted = try await Self.run(
                model, tokenizer, requests: requests, threads: 2, rows: rows, running: running, blocks: blocks,
                speculation: speculation)
            #expect(drafted.tokens == plain.tokens)
            #expect(plain.bits.count > 200)
            #expect(plain.bits.allSatisfy { drafted.bits[$0.key] == $0.value })
            #expect(drafted.statistics.draftTokensAccepted > 50)
            #expect(drafted.statistics.draftTokensAccepted < drafted.statistics.draftTokens)
            // How many turns meet in the small pool, and so whether one must go, depends on how long steps take. A single place is
            // lost to a higher class that was submitted when the first step had begun.
            #expect(blocks < 512 || running < requests.count || drafted.statistics.preemptions == 0)
        }
    }

    @Test func aResumedTurnGoesOnWithTheSameTokens() async throws {
        let file = try GGUFFile(path: #require(DefaultModel.path))
        let tokenizer = try Tokenizer(file: file)
        let model = try LlamaModel(file: file, options: ModelOptions(threads: 2, maxRows: 64, kvBlocks: 64))
        let log = EventLog()
        let engine = try Engine(
            makeForwardPass: { try model.makeForwardPass() }, tokenizer: tokenizer,
            configuration: EngineConfiguration(), onStep: log.append)
        var request = GenerationRequest(
            id: 1, prompt: tokenizer.encode("Three colours of the rainbow are", parseSpecial: false), maxTokens: 40,
            sampling: SamplingParameters(seed: 5), ignoreEnd: true)
        try engine.submit(request)
        await log.waitForEnd(of: [1])
        let whole = log.tokens(of: 1)
        #expect(whole.count == 40)
        for (id, logged) in [(2, 1), (3, 20), (4, 39)] as [(UInt64, Int)] {
            request.id = id
            request.outputSoFar = Array(whole.prefix(logged))
            try engine.submit(request)
            await log.waitForEnd(of: [id])
            #expect(log.tokens(of: id) == Array(whole.dropFirst(logged)))
        }
        await engine.shutdown()
    }

    /// A stop text in the middle of the answer, found in text that is assembled from tokens of parts of characters too.
    @Test func aStopTextEndsTheTurn() async throws {
        let file = try GGUFFile(path: #require(DefaultModel.path))
        let tokenizer = try Tokenizer(file: file)
        let model = try LlamaModel(file: file, options: ModelOptions(threads: 2, maxRows: 64, kvBlocks: 64))
        let log = EventLog()
        let engine = try Engine(
            makeForwardPass: { try model.makeForwardPass() }, tokenizer: tokenizer,
            configuration: EngineConfiguration(), onStep: log.append)
        var request = GenerationRequest(
            id: 1, prompt: tokenizer.encode("🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂 é é é é é é é", parseSpecial: false), maxTokens: 40,
            sampling: .greedy, ignoreEnd: true)
        try engine.submit(request)
        await log.waitForEnd(of: [1])
        let whole = tokenizer.decode(log.tokens(of: 1))
        let stop = String(whole.unicodeScalars.dropFirst(whole.unicodeScalars.count / 2).prefix(3))
        request.id = 2
        request.stop = [stop]
        try engine.submit(request)
        await log.waitForEnd(of: [2])
        #expect(log.finish(of: 2) == .stop)
        let text = tokenizer.decode(log.tokens(of: 2))
        #expect(text.unicodeScalars.count < whole.unicodeScalars.count)
        #expect(text.contains(stop))
        await engine.shutdown()
    }
}
