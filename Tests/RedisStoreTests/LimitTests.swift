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

    private func limits(_ user: Int, tenant: Int = 1_000_000, bytes: Int = 1 << 40) -> OutstandingTurns.Limits {
        .init(turnsPerUser: user, turnsPerTenant: tenant, bytesPerTenant: bytes)
    }

    /// Turns of new users of a tenant.
    private func turns(_ count: Int, tenant: String, lifetime: Int64 = 600_000, user: String? = nil) -> [Turn] {
        (0..<count).map { _ in
            let id = Turn.sample().id
            let owner = UserKey(tenant: tenant, user: user ?? "user-\(id)")
            return .sample(
                conversation: ConversationKey(owner: owner, id: ConversationID(firstTurn: id)), lifetime: lifetime)
        }
    }

    @Test func outstandingTurnsAreCountedOnceAndFallOut() async throws {
        try await withPool { pool in
            let outstanding = OutstandingTurns(pool: pool)
            let tenant = "t-\(UUID())"
            let turns = turns(3, tenant: tenant, user: "u")
            let user = turns[0].conversation.owner
            #expect(try await outstanding.take(turns[0], bytes: 1, limits: limits(2)) == nil)
            #expect(try await outstanding.take(turns[0], bytes: 1, limits: limits(2)) == nil)
            #expect(try await outstanding.take(turns[1], bytes: 1, limits: limits(2)) == nil)
            #expect(try await outstanding.take(turns[2], bytes: 1, limits: limits(2)) == .turnsOfUser(2))
            #expect(try await outstanding.count(of: user) == 2)
            try await outstanding.release(turns[0])
            #expect(try await outstanding.count(of: user) == 1)
            #expect(try await outstanding.take(turns[2], bytes: 1, limits: limits(2)) == nil)
            // Another tenant's user of the same name is another.
            let stranger = self.turns(1, tenant: tenant + "2", user: "u")[0]
            #expect(try await outstanding.take(stranger, bytes: 1, limits: limits(1)) == nil)
            let past = self.turns(2, tenant: "t-\(UUID())", lifetime: -1000, user: "u")
            #expect(try await outstanding.take(past[0], bytes: 1, limits: limits(1)) == nil)
            #expect(try await outstanding.count(of: past[0].conversation.owner) == 0)
            #expect(try await outstanding.take(past[1], bytes: 1, limits: limits(1)) == nil)
        }
    }

    @Test func aTenantsTurnsAreCountedOverItsUsersAndInBytes() async throws {
        try await withPool { pool in
            let outstanding = OutstandingTurns(pool: pool)
            let tenant = "t-\(UUID())"
            let turns = turns(5, tenant: tenant)
            let byCount = limits(9, tenant: 2)
            #expect(try await outstanding.take(turns[0], bytes: 100, limits: byCount) == nil)
            #expect(try await outstanding.take(turns[1], bytes: 100, limits: byCount) == nil)
            #expect(try await outstanding.take(turns[1], bytes: 100, limits: byCount) == nil)
            #expect(try await outstanding.take(turns[2], bytes: 100, limits: byCount) == .turnsOfTenant(2))
            try await outstanding.release(turns[2])
            #expect(try await outstanding.bytes(of: tenant) == 200)
            let byBytes = limits(9, bytes: 1000)
            #expect(try await outstanding.take(turns[2], bytes: 801, limits: byBytes) == .bytesOfTenant(1000))
            try await outstanding.release(turns[2])
            #expect(try await outstanding.take(turns[2], bytes: 800, limits: byBytes) == nil)
            #expect(try await outstanding.take(turns[3], bytes: 1, limits: byBytes) == .bytesOfTenant(1000))
            try await outstanding.release(turns[3])
            // Another tenant has its own.
            let other = self.turns(1, tenant: tenant + "2")[0]
            #expect(try await outstanding.take(other, bytes: 900, limits: byBytes) == nil)
            // What ends gives its bytes back, once.
            for _ in 0..<2 { try await outstanding.release(turns[2]) }
            #expect(try await outstanding.bytes(of: tenant) == 200)
            for turn in turns { try await outstanding.release(turn) }
            #expect(try await outstanding.bytes(of: tenant) == 0)
            // A turn that alone passes the bound is let through when there is no other.
            #expect(try await outstanding.take(turns[4], bytes: 2000, limits: byBytes) == nil)
        }
    }

    @Test func aTenantsTurnThatNobodyReleasedFallsOutWithItsBytes() async throws {
        try await withPool { pool in
            let outstanding = OutstandingTurns(pool: pool)
            let tenant = "t-\(UUID())"
            let stays = turns(1, tenant: tenant)[0]
            let brief = turns(1, tenant: tenant, lifetime: 200)[0]
            #expect(try await outstanding.take(stays, bytes: 5, limits: limits(1)) == nil)
            #expect(try await outstanding.take(brief, bytes: 7, limits: limits(1)) == nil)
            try await eventually("the brief one has fallen out") {
                let next = turns(1, tenant: tenant)[0]
                _ = try await outstanding.take(next, bytes: 1, limits: limits(1))
                try await outstanding.release(next)
                return try await outstanding.bytes(of: tenant) == 5
            }
        }
    }

    @Test func theServerSaysWhatMemoryItUsesAndMayUse() async throws {
        #expect(RedisMemory(info: "# Memory\r\nused_memory:80\r\nmaxmemory:100\r\n")?.share == 0.8)
        #expect(RedisMemory(info: "used_memory:80\r\nmaxmemory:0\r\n").map { $0.share == nil } == true)
        for hostile in [
            "", "used_memory:80", "used_memory:x\r\nmaxmemory:1", "used_memory:-1\r\nmaxmemory:1", ":\r\n::",
        ] {
            #expect(RedisMemory(info: hostile) == nil)
        }
        try await withPool { pool in
            let memory = try await pool.memory()
            #expect(memory.usedBytes > 100_000)
        }
    }
}
