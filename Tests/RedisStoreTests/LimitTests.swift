import ChatCore
import Foundation
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct LimitTests {
    @Test func exactlyTheLimitPassesHoweverManyAsk() async throws {
        try await withPool { pool in
            let limiter = RateLimiter(pool: pool)
            let name = "chat:\(UUID())"
            let allowed = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<100 {
                    group.addTask {
                        if case .allowed = try await limiter.take(name, limit: 20) { true } else { false }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(allowed == 20)
            #expect(try await pool.send("LLEN", "limit:{\(name)}").int == 20)
            guard case .refused(let after) = try await limiter.take(name, limit: 20) else {
                throw TestFailure("refused")
            }
            #expect(after > .zero && after <= .seconds(60))
            #expect(try await limiter.take(name + "2", limit: 20) == .allowed(remaining: 19))
            #expect(try await limiter.take(name + "3", limit: 0) == .refused(retryAfter: .seconds(60)))
        }
    }

    /// Each request that passes lies between the server's times before and after it; a window and one more request
    /// can then not be shorter than the window.
    @Test func noWindowHoldsMoreThanTheLimit() async throws {
        try await withPool { pool in
            let window = Duration.milliseconds(60)
            let limiter = RateLimiter(pool: pool, window: window)
            let name = "window:\(UUID())"
            var passed: [(before: Int64, after: Int64)] = []
            while passed.count < 25 {
                let before = try await microseconds(pool)
                var decision = try await limiter.take(name, limit: 5)
                if case .refused(let wait) = decision {
                    #expect(wait <= window)
                    // The time that the refusal names is enough, and the server's clock is past it.
                    try await Task.sleep(for: wait)
                    decision = try await limiter.take(name, limit: 5)
                }
                guard case .allowed = decision else { throw TestFailure("allowed after the wait") }
                passed.append((before, try await microseconds(pool)))
            }
            for (first, sixth) in zip(passed, passed.dropFirst(5)) { #expect(sixth.after - first.before >= 60_000) }
        }
    }

    /// Requests that were let through an hour from now: the clock was set back since.
    @Test func aClockThatWasSetBackKeepsNobodyLongerThanAWindow() async throws {
        try await withPool { pool in
            let limiter = RateLimiter(pool: pool)
            let name = "future:\(UUID())"
            let hour = try await microseconds(pool) + 3_600_000_000
            for offset in 0..<3 as Range<Int64> {
                _ = try await pool.send("RPUSH", .text("limit:{\(name)}"), .integer(hour + offset))
            }
            guard case .refused(let wait) = try await limiter.take(name, limit: 3) else {
                throw TestFailure("refused")
            }
            #expect(wait <= .seconds(60))
            // They count as made now, also when the limit allows more.
            #expect(try await limiter.take(name, limit: 5) == .allowed(remaining: 1))
        }
    }

    private func microseconds(_ pool: RedisPool) async throws -> Int64 {
        let reply = try await pool.send("TIME")
        let parts = try #require(reply.array)
        return try #require(parts[0].int) * 1_000_000 + #require(parts[1].int)
    }

    @Test func loweredLimitCountsFromTheEnd() async throws {
        try await withPool { pool in
            let limiter = RateLimiter(pool: pool)
            let name = "lowered:\(UUID())"
            for _ in 0..<5 { _ = try await limiter.take(name, limit: 5) }
            guard case .refused = try await limiter.take(name, limit: 2) else { throw TestFailure("refused") }
        }
    }

    @Test func outstandingTurnsAreCountedOnceAndFallOut() async throws {
        try await withPool { pool in
            let outstanding = OutstandingTurns(pool: pool)
            let turns = (0..<4).map { _ in Turn.sample() }
            let user = turns[0].conversation.owner
            #expect(try await outstanding.take(user: user, turn: turns[0].id, limit: 2, until: turns[0].deadline))
            #expect(try await outstanding.take(user: user, turn: turns[0].id, limit: 2, until: turns[0].deadline))
            #expect(try await outstanding.take(user: user, turn: turns[1].id, limit: 2, until: turns[1].deadline))
            #expect(try await !outstanding.take(user: user, turn: turns[2].id, limit: 2, until: turns[2].deadline))
            #expect(try await outstanding.count(of: user) == 2)
            try await outstanding.release(user: user, turn: turns[0].id)
            #expect(try await outstanding.count(of: user) == 1)
            #expect(try await outstanding.take(user: user, turn: turns[2].id, limit: 2, until: turns[2].deadline))
            // Another tenant's user of the same name is another.
            let stranger = UserKey(tenant: "other", user: user.user)
            #expect(try await outstanding.take(user: stranger, turn: turns[3].id, limit: 1, until: turns[3].deadline))
            let past = Turn.sample()
            let owner = past.conversation.owner
            #expect(try await outstanding.take(user: owner, turn: past.id, limit: 1, until: 1_700_000_000_000))
            #expect(try await outstanding.count(of: owner) == 0)
            #expect(try await outstanding.take(user: owner, turn: turns[3].id, limit: 1, until: turns[3].deadline))
        }
    }
}
