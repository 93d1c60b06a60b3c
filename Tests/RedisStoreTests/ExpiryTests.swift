import ChatCore
import Foundation
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct ExpiryTests {
    /// Does everything that writes, on a server of its own, then looks at every key there.
    @Test func everyKeyExpires() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        let configuration = RedisConfiguration(server.endpoint)
        try await withPool(configuration) { pool in
            let log = TurnLog(pool: pool)
            let (open, ended, late) = (Turn.sample(), Turn.sample(), Turn.sample(acceptedAt: 1_700_000_000_000))
            for turn in [open, ended, late] {
                _ = try await log.reserve(turn)
                let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
                _ = try await log.follow(turn.id, reader: "g", from: 0)
                _ = try await log.recordPlan(lease, plan: [1])
                _ = try await log.beginAttempt(lease, mark: 1, node: "n", numericsID: "x", plan: [1])
                _ = try await log.append(lease, first: 0, tokens: tokens("a"))
                try await everyKeyHasExpiry(pool)
                _ = try await log.recordOutcome(lease, outcome: [1])
                if turn.id == ended.id { _ = try await log.end(lease, next: 1, end: turn.end) }
                _ = try await log.requestCancel(turn.id, reason: "r")
                try await log.unfollow(turn.id, reader: "g")
            }
            _ = try await log.acquire(Turn.sample(), owner: "o", redelivered: true)
            let immediate = try #require(try await log.acquire(Turn.sample(), owner: "o", redelivered: true).lease)
            _ = try await log.end(immediate, next: 0, end: open.end)
            let context = ContextCache(pool: pool)
            let entry = ContextCache.Entry(turn: open.id, system: nil, message: "m", response: "r")
            try await context.append(open.conversation, entry: entry, beginsConversation: true)
            try await context.fill(ended.conversation, entries: [entry])
            _ = try await context.load(open.conversation)
            try await ConversationOrder(pool: pool).add(open)
            _ = try await RateLimiter(pool: pool).take([.init(name: "name", requests: 3)], of: "group")
            _ = try await OutstandingTurns(pool: pool)
                .take(open, bytes: 1, limits: .init(turnsPerUser: 1, turnsPerTenant: 1, bytesPerTenant: 1))
            var keyed = Turn.sample()
            keyed.idempotency = .init(key: "k", requestDigest: "d")
            _ = try await IdempotencyKeys(pool: pool).take(keyed, body: [1])
            try await everyKeyHasExpiry(pool)
            keyed.idempotency = .init(key: "l", requestDigest: "d")
            try await IdempotencyKeys(pool: pool).confirm(keyed)
            try await NodeDirectory(pool: pool).announce(.sample("n", running: 0), ttl: .seconds(600))
            try await LoadDirectory(pool: pool).announce(OrchestratorLoad(id: "o"), ttl: .seconds(600))
            try await Presence(pool: pool).beat(kind: "orchestrator", id: "o", ttl: .seconds(600))
            try await Markers(pool: pool).set("m", ttl: .seconds(600))
            try await Inbox.write(pool, orchestrator: "o", payload: [1])
            // The pool's own, which lasts a second.
            try await pool.tryToWrite()
            let kinds = try await everyKeyHasExpiry(pool).union(["probe"])
            #expect(
                kinds == [
                    "turn", "idempotency", "context", "order", "limit", "outstanding", "node", "{nodes}", "{load}",
                    "presence",
                    "marker",
                    "inbox", "probe",
                ])
            // Nor does anything stay much longer than the longest retention.
            let stay = try await pool.send("PTTL", "turn:{\(ended.id)}:record").int ?? 0
            #expect(stay > 3_500_000 && stay <= 3_600_000)
        }
        try await server.stop()
    }

    @discardableResult
    private func everyKeyHasExpiry(_ pool: RedisPool) async throws -> Set<String> {
        var kinds: Set<String> = []
        for key in try await pool.send("KEYS", "*").array?.compactMap(\.text) ?? [] {
            // One that is gone by now (-2) has expired.
            #expect(try await pool.send("PTTL", .text(key)).int ?? -1 != -1, "\(key) stays for ever")
            kinds.insert(String(key.prefix { $0 != ":" }))
        }
        return kinds
    }
}
