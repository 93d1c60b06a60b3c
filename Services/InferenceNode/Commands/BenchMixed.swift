import ArgumentParser
import Foundation
import LlamaEngine

/// What users feel while others send long prompts: eight streams run, sixteen long prompts come, and short ones among them.
///
/// The step's time budget is the measure: a running stream's next token should come within two of them, a short prompt's first
/// token within two steps. At the end a conversation's second turn, whose beginning the prefix cache has.
struct BenchMixed {
    let loaded: LoadedModel
    let json: Bool

    static let streams = 8
    static let longPrompts = 16
    static let longTokens = 1024
    static let shortPrompts = 12
    static let shortTokens = 24
    private static let streamPrompt = 64
    /// KV blocks that all of it needs.
    static let blocks = (longPrompts * (longTokens + 16) + streams * 4096 + shortPrompts * 64) / StepBatch.blockSize

    func run() throws {
        let log = StepLog()
        let model = loaded.model
        let configuration = EngineConfiguration()
        let engine = try Engine(
            makeForwardPass: { try model.makeForwardPass() }, tokenizer: nil, configuration: configuration,
            onStep: log.append)
        try warmUp(engine, log)
        try measureMixture(engine, log, target: configuration.scheduler.stepSeconds)
        try measureConversation(engine, log)
    }

    private func prompt(_ seed: Int, _ count: Int) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + seed * 104_729 + 17) % loaded.model.configuration.vocabulary) }
    }

    private func request(
        _ id: UInt64, _ count: Int, output: Int, _ priority: RequestPriority, salt: String? = nil
    ) -> GenerationRequest {
        GenerationRequest(
            id: id, prompt: prompt(Int(id), count), maxTokens: output, sampling: .greedy, ignoreEnd: true,
            priority: priority, cacheSalt: salt)
    }

    /// The engine learns its rates, as a node does with its first requests.
    private func warmUp(_ engine: Engine, _ log: StepLog) throws {
        for id in 900...903 as ClosedRange<UInt64> { try engine.submit(request(id, 400, output: 24, .stream)) }
        for id in 900...903 as ClosedRange<UInt64> { log.waitForEnd(of: id) }
    }

    private func measureMixture(_ engine: Engine, _ log: StepLog, target: Double) throws {
        let running = (1...UInt64(Self.streams)).map { $0 }
        for id in running { try engine.submit(request(id, Self.streamPrompt, output: 4000, .stream)) }
        for id in running { log.waitForTokens(8, of: id) }
        let idle = log.intervals(of: running, from: log.time(ofToken: 1, of: running[0]))
        let long = (101...UInt64(100 + Self.longPrompts)).map { $0 }
        let start = MonotonicClock.seconds
        for id in long { try engine.submit(request(id, Self.longTokens, output: 1, .stream)) }
        var times: [Double] = []
        var steps: [Int] = []
        for id in 201...UInt64(200 + Self.shortPrompts) {
            log.waitForSteps(7)
            guard long.contains(where: { !log.hasEnded($0) }) else { break }
            let (sent, before) = (MonotonicClock.seconds, log.steps)
            try engine.submit(request(id, Self.shortTokens, output: 2, .stream))
            log.waitForTokens(1, of: id)
            times.append(log.time(ofToken: 0, of: id) - sent)
            steps.append(log.step(ofFirstTokenOf: id) - before)
        }
        for id in long { log.waitForEnd(of: id) }
        let end = MonotonicClock.seconds
        for id in running { engine.cancel(id) }
        for id in running { log.waitForEnd(of: id) }
        let intervals = log.intervals(of: running, from: start, to: end)
        report(
            "mixed",
            [
                ("long_prompts", Double(Self.longPrompts)), ("long_tokens", Double(Self.longTokens)),
                ("prefill_tokens_per_second", Double(Self.longPrompts * Self.longTokens) / (end - start)),
                ("step_budget_ms", target * 1000),
                ("short_first_token_ms_median", percentile(times, 0.5) * 1000),
                ("short_first_token_ms_max", percentile(times, 1) * 1000),
                ("short_first_token_steps_median", percentile(steps.map(Double.init), 0.5)),
                ("short_first_token_steps_max", percentile(steps.map(Double.init), 1)),
                ("stream_interval_ms_alone", percentile(idle, 0.5) * 1000),
                ("stream_interval_ms_median", percentile(intervals, 0.5) * 1000),
                ("stream_interval_ms_p99", percentile(intervals, 0.99) * 1000),
                ("stream_interval_ms_max", percentile(intervals, 1) * 1000),
            ])
    }

    private func measureConversation(_ engine: Engine, _ log: StepLog) throws {
        var turn = request(301, 1500, output: 64, .stream, salt: "tenant")
        func firstTokenTime() throws -> Double {
            let sent = MonotonicClock.seconds
            try engine.submit(turn)
            log.waitForEnd(of: turn.id)
            return log.time(ofToken: 0, of: turn.id) - sent
        }
        let before = engine.statistics
        let first = try firstTokenTime()
        turn.prompt += log.tokens(of: 301) + prompt(7, 50)
        turn.id = 302
        let middle = engine.statistics
        let second = try firstTokenTime()
        let after = engine.statistics
        report(
            "second_turn",
            [
                ("prompt_tokens", Double(turn.prompt.count)),
                ("cached_tokens", Double(after.prefixTokensHit - before.prefixTokensHit)),
                ("prefill_rows_first", Double(middle.prefillRows - before.prefillRows)),
                ("prefill_rows_second", Double(after.prefillRows - middle.prefillRows)),
                ("first_token_ms_first", first * 1000), ("first_token_ms_second", second * 1000),
            ])
    }

    private func report(_ test: String, _ values: [(String, Double)]) {
        let texts = values.map { name, value in (name, "\((value * 10).rounded() / 10)".replacing(/\.0$/, with: "")) }
        print(
            json
                ? "{\"test\":\"\(test)\",\(texts.map { "\"\($0)\":\($1)" }.joined(separator: ","))}"
                : "\(test)\n" + texts.map { "  \($0): \($1)" }.joined(separator: "\n"))
    }

    private func percentile(_ values: [Double], _ part: Double) -> Double {
        guard !values.isEmpty else { return .nan }
        let rank = Int((part * Double(values.count)).rounded(.up)) - 1
        return values.sorted()[min(max(rank, 0), values.count - 1)]
    }
}

/// When each token came, by the engine's thread; the measuring thread waits on it.
private final class StepLog: @unchecked Sendable {  // every stored variable is guarded by `condition`
    private struct Entry {
        var times: [Double] = []
        var tokens: [Int32] = []
        var firstStep = 0
        var ended = false
    }

    private let condition = NSCondition()
    private var entries: [UInt64: Entry] = [:]
    private var count = 0

    func append(_ events: [TokenEvent]) {
        let now = MonotonicClock.seconds
        condition.lock()
        defer { condition.unlock() }
        count += 1
        for event in events {
            var entry = entries[event.request] ?? Entry()
            if event.token != TokenEvent.none {
                if entry.times.isEmpty { entry.firstStep = count }
                entry.times.append(now)
                entry.tokens.append(event.token)
            }
            entry.ended = event.finish != nil
            entries[event.request] = entry
        }
        condition.broadcast()
    }

    private func wait(until isTrue: () -> Bool) {
        condition.lock()
        defer { condition.unlock() }
        while !isTrue() { condition.wait() }
    }

    private func read<Value>(_ body: () -> Value) -> Value {
        condition.lock()
        defer { condition.unlock() }
        return body()
    }

    func waitForSteps(_ steps: Int) {
        let goal = read { count + steps }
        wait { count >= goal }
    }

    func waitForTokens(_ tokens: Int, of id: UInt64) {
        wait { entries[id].map { $0.ended || $0.times.count >= tokens } ?? false }
    }

    func waitForEnd(of id: UInt64) { wait { entries[id]?.ended ?? false } }
    func hasEnded(_ id: UInt64) -> Bool { read { entries[id]?.ended ?? false } }
    var steps: Int { read { count } }
    func step(ofFirstTokenOf id: UInt64) -> Int { read { entries[id]?.firstStep ?? 0 } }
    func tokens(of id: UInt64) -> [Int32] { read { entries[id]?.tokens ?? [] } }

    func time(ofToken index: Int, of id: UInt64) -> Double {
        read { entries[id].flatMap { $0.times.indices.contains(index) ? $0.times[index] : nil } ?? .nan }
    }

    /// Seconds between neighbouring tokens of these requests, where the later one came in that time.
    func intervals(of ids: [UInt64], from start: Double, to end: Double = .infinity) -> [Double] {
        read {
            ids.flatMap { id in
                let times = entries[id]?.times ?? []
                return zip(times.dropFirst(), times).filter { $0.0 > start && $0.0 <= end }.map { $0.0 - $0.1 }
            }
        }
    }
}
