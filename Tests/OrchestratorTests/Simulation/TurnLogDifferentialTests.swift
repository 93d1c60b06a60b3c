import ChatCore
import Logging
import RedisStore
import SeededRandom
import TestServers
import Testing

/// The pure model decides as the real scripts do, over random sequences of operations by holders old and new.
@Suite(.timeLimit(.minutes(2))) struct TurnLogDifferentialTests {
    @Test func theModelDecidesAsTheScriptsDo() async throws {
        let endpoint = try await TestServers.redis()
        let pool = RedisPool(
            configuration: RedisConfiguration(
                host: endpoint.host, port: endpoint.port, password: endpoint.password, poolSize: 1),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let service = Task { try await pool.run() }
        try await pool.waitUntilConnected()
        for seed in 0..<60 as Range<UInt64> {
            var run = DifferentialRun(log: TurnLog(pool: pool), pool: pool, seed: seed)
            for number in 0..<80 { try await run.step(number) }
        }
        service.cancel()
        try await service.value
    }
}

private struct DifferentialRun {
    let log: TurnLog
    let pool: RedisPool
    let seed: UInt64
    let turn: Turn
    var model = TurnLogModel()
    var random: SeededGenerator
    var leases: [TurnLog.Lease] = []

    init(log: TurnLog, pool: RedisPool, seed: UInt64) {
        self.log = log
        self.pool = pool
        self.seed = seed
        random = SeededGenerator(seed: seed &+ 77)
        turn = .sample(number: seed, run: UInt64.random(in: 0 ... .max))
    }

    private mutating func lease() -> TurnLog.Lease {
        // Mostly the newest, often an older one, sometimes one that nobody ever had.
        if let newest = leases.last, Int.random(in: 0..<3, using: &random) > 0 { return newest }
        return leases.randomElement(using: &random) ?? TurnLog.Lease(turn: turn.id, epoch: 1, owner: "nobody")
    }

    private mutating func verdicts() -> [TurnLog.Verdict] {
        guard Bool.random(using: &random), let record = model.records[turn.id], record.attempts > 0 else { return [] }
        return [
            .init(
                attempt: Int.random(in: 1...record.attempts, using: &random), reason: "r\(random.next() % 9)",
                isFruitless: Bool.random(using: &random))
        ]
    }

    mutating func step(_ number: Int) async throws {
        let note: Comment = "seed \(seed), step \(number)"
        switch Int.random(in: 0..<20, using: &random) {
        case 0:
            let isNew: Bool
            if case .reserved = try await log.reserve(turn) { isNew = true } else { isNew = false }
            #expect(isNew == model.reserve(turn.id), note)
        case 1:
            #expect(try await log.forget(turn.id) == model.forget(turn.id), note)
        case 2, 3, 4: try await acquire(note)
        case 5, 6, 7, 8: try await append(note)
        case 9:
            let (lease, plan) = (lease(), [UInt8(number)])
            #expect(try await log.recordPlan(lease, plan: plan) == model.recordPlan(lease, plan: plan), note)
        case 10:
            let (lease, outcome) = (lease(), [UInt8(number)])
            let real = try await log.recordOutcome(lease, outcome: outcome)
            #expect(real == model.recordOutcome(lease, outcome: outcome), note)
        case 11, 12, 13:
            let (lease, plan, verdicts) = (lease(), [UInt8(number)], verdicts())
            // Now and then the same beginning again.
            let mark = UInt64.random(in: 0..<4, using: &random)
            let real = try await log.beginAttempt(
                lease, mark: mark, node: "n\(number % 3)", numericsID: "x", plan: plan, verdicts: verdicts)
            let expected = model.beginAttempt(
                lease, mark: mark, node: "n\(number % 3)", plan: plan, verdicts: verdicts)
            #expect(real?.attempts == expected?.attempts && real?.plan == expected?.plan, note)
        case 14:
            let (lease, verdicts) = (lease(), verdicts())
            let parkedBy = Bool.random(using: &random) ? "p" : nil
            let real = try await log.release(lease, parkedBy: parkedBy, verdicts: verdicts)
            #expect(real == model.release(lease, parkedBy: parkedBy, verdicts: verdicts), note)
        case 15:
            let real = try await log.requestCancel(turn.id, reason: "c\(number)")
            #expect(real == model.requestCancel(turn.id, reason: "c\(number)"), note)
        case 16 where Int.random(in: 0..<3, using: &random) == 0:
            let name = "turn:{\(turn.id)}"
            _ = try await pool.send("DEL", .text(name), .text(name + ":record"), .text(name + ":readers"))
            model.lose(turn.id)
        case 17 where Int.random(in: 0..<4, using: &random) == 0: try await end(note)
        default: break
        }
        let record = try await log.record(of: turn.id)
        let expected = model.records[turn.id]
        #expect(record?.next == expected?.tokens.count && record?.hasEnded == expected?.hasEnded, note)
    }

    private mutating func acquire(_ note: Comment) async throws {
        let (redelivered, creates) = (Bool.random(using: &random), Int.random(in: 0..<4, using: &random) > 0)
        let owner = "o\(random.next() % 3)"
        let other = Bool.random(using: &random) ? "o\(random.next() % 3)" : nil
        let before = model.records[turn.id]?.epoch ?? 0
        let real = try await log.acquire(turn, owner: owner, redelivered: redelivered, from: other, creates: creates)
        var micros: Int64 = 0
        if case .acquired(let lease, _) = real { micros = lease.epoch }
        let expected = model.acquire(
            turn.id, owner: owner, redelivered: redelivered, from: other, creates: creates, micros: micros)
        switch (real, expected) {
        case (.acquired(let lease, let progress), .acquired(let expectedLease, let expectedProgress)):
            #expect(lease == expectedLease && lease.epoch > before, note)
            #expect(progress.timeless == expectedProgress, note)
            leases.append(lease)
        default: #expect(real == expected, note)
        }
    }

    private mutating func append(_ note: Comment) async throws {
        let lease = lease()
        let next = model.records[turn.id]?.tokens.count ?? 0
        let first = max(
            0, next + (Int.random(in: 0..<4, using: &random) == 0 ? Int.random(in: -2...2, using: &random) : 0))
        let tokens = (0..<Int.random(in: 0...3, using: &random)).map { offset in
            TurnLog.Token(id: Int32(first + offset), text: "t\(first + offset)")
        }
        let real = try await log.append(lease, first: first, tokens: tokens)
        let expected = model.append(lease, first: first, tokens: tokens)
        if case .appended(let audience) = real, case .appended(let expectedAudience) = expected {
            #expect(audience.cancelReason == expectedAudience.cancelReason, note)
        } else {
            #expect(real == expected, note)
        }
    }

    private mutating func end(_ note: Comment) async throws {
        let (lease, next) = (lease(), model.records[turn.id]?.tokens.count ?? 0)
        let claimed = Bool.random(using: &random) ? next : next + 1
        let expected = model.end(lease, next: claimed)
        do throws(RedisError) {
            #expect(try await log.end(lease, next: claimed, end: turn.end) == (expected ?? false), note)
        } catch {
            #expect(expected == false, note)
        }
    }
}

extension TurnLog.Progress {
    /// Without the server's times.
    fileprivate var timeless: TurnLog.Progress {
        TurnLog.Progress(
            tokens: tokens, plan: plan, outcome: outcome, hasEnded: hasEnded, cancelReason: cancelReason,
            attempts: attempts, retries: retries,
            history: history.map { .init(node: $0.node, epoch: $0.epoch, startedAt: 0, endReason: $0.endReason) })
    }
}
