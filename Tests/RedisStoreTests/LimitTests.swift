import ChatCore
import Foundation
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct LimitTests {
    @Test func exactlyTheLimitPassesHoweverManyAsk() async throws {
        try await withPool { pool in
            let limiter = RateLimiter(pool: pool)
            let group = "\(UUID())"
            let limit = RateLimiter.Limit(name: "chat", requests: 20)
            let allowed = try await withThrowingTaskGroup(of: Bool.self) { tasks in
                for _ in 0..<100 {
                    tasks.addTask { try await limiter.take([limit], of: group) == .allowed }
                }
                return try await tasks.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(allowed == 20)
            #expect(try await pool.send("LLEN", "limit:{\(group)}:chat").int == 20)
            guard case .refused(by: limit, let after) = try await limiter.take([limit], of: group) else {
                throw TestFailure("refused")
            }
            #expect(after > .zero && after <= .seconds(60))
            #expect(try await limiter.take([.init(name: "stream", requests: 20)], of: group) == .allowed)
            #expect(try await limiter.take([limit], of: group + "2") == .allowed)
            let closed = RateLimiter.Limit(name: "closed", requests: 0)
            #expect(
                try await limiter.take([closed], of: group) == .refused(by: closed, retryAfter: .seconds(60)))
            #expect(try await limiter.take([], of: group) == .allowed)
        }
    }

    @Test func whatOneLimitRefusesIsCountedAgainstNone() async throws {
        try await withPool { pool in
            let limiter = RateLimiter(pool: pool)
            let group = "\(UUID())"
            let (ann, bob) = (RateLimiter.Limit(name: "ann", requests: 2), RateLimiter.Limit(name: "bob", requests: 2))
            let all = RateLimiter.Limit(name: "all", requests: 3)
            func counted(_ limit: RateLimiter.Limit) async throws -> Int64? {
                try await pool.send("LLEN", .text("limit:{\(group)}:\(limit.name)")).int
            }
            func refuser(_ limits: [RateLimiter.Limit]) async throws -> RateLimiter.Limit? {
                guard case .refused(let limit, let wait) = try await limiter.take(limits, of: group) else { return nil }
                #expect(wait > .zero && wait <= .seconds(60))
                return limit
            }
            let first = [try await refuser([ann, all]), try await refuser([ann, all])]
            #expect(first == [nil, nil])
            // By the first of two that would.
            #expect(try await refuser([ann, all]) == ann)
            #expect(try await counted(all) == 2)
            #expect(try await refuser([bob, all]) == nil)
            #expect(try await refuser([bob, all]) == all)
            #expect(try await counted(bob) == 1)
            #expect(try await refuser([ann, all]) == ann)
        }
    }

    /// Each request that passes lies between the server's times before and after it; a window and one more request
    /// can then not be shorter than the window.
    @Test func noWindowHoldsMoreThanTheLimit() async throws {
        try await withPool { pool in
            let window = Duration.milliseconds(60)
            let limiter = RateLimiter(pool: pool, window: window)
            let group = "\(UUID())"
            let limit = RateLimiter.Limit(name: "window", requests: 5)
            var passed: [(before: Int64, after: Int64)] = []
            while passed.count < 25 {
                let before = try await microseconds(pool)
                var decision = try await limiter.take([limit], of: group)
                if case .refused(_, let wait) = decision {
                    #expect(wait <= window)
                    // The time that the refusal names is enough, and the server's clock is past it.
                    try await Task.sleep(for: wait)
                    decision = try await limiter.take([limit], of: group)
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
            let group = "\(UUID())"
            let hour = try await microseconds(pool) + 3_600_000_000
            for offset in 0..<3 as Range<Int64> {
                _ = try await pool.send("RPUSH", .text("limit:{\(group)}:future"), .integer(hour + offset))
            }
            func take(_ limit: Int) async throws -> RateLimiter.Decision {
                try await limiter.take([.init(name: "future", requests: limit)], of: group)
            }
            guard case .refused(_, let wait) = try await take(3) else { throw TestFailure("refused") }
            #expect(wait <= .seconds(60))
            // They count as made now, also when the limit allows more.
            for _ in 0..<2 { #expect(try await take(5) == .allowed) }
            guard case .refused = try await take(5) else { throw TestFailure("refused") }
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
            let group = "\(UUID())"
            for _ in 0..<5 { _ = try await limiter.take([.init(name: "lowered", requests: 5)], of: group) }
            guard case .refused = try await limiter.take([.init(name: "lowered", requests: 2)], of: group) else {
                throw TestFailure("refused")
            }
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
            #expect(try await outstanding.bytes(of: tenant) == 200)
            // Neither of the two counts what the other one refuses.
            #expect(try await outstanding.count(of: turns[2].conversation.owner) == 0)
            #expect(try await outstanding.take(turns[2], bytes: 100, limits: limits(0)) == .turnsOfUser(0))
            #expect(try await outstanding.bytes(of: tenant) == 200)
            let byBytes = limits(9, bytes: 1000)
            #expect(try await outstanding.take(turns[2], bytes: 801, limits: byBytes) == .bytesOfTenant(1000))
            #expect(try await outstanding.take(turns[2], bytes: 800, limits: byBytes) == nil)
            #expect(try await outstanding.take(turns[3], bytes: 1, limits: byBytes) == .bytesOfTenant(1000))
            #expect(try await outstanding.count(of: turns[3].conversation.owner) == 0)
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
            let byBytes = limits(1, bytes: 12)
            #expect(try await outstanding.take(stays, bytes: 5, limits: byBytes) == nil)
            #expect(try await outstanding.take(brief, bytes: 7, limits: byBytes) == nil)
            let next = turns(1, tenant: tenant)[0]
            try await eventually("the brief one has fallen out") {
                let passed = try await outstanding.take(next, bytes: 7, limits: byBytes)
                #expect(passed == nil || passed == .bytesOfTenant(12))
                return passed == nil
            }
            #expect(try await outstanding.bytes(of: tenant) == 12)
            // Released after all: it gives nothing back a second time.
            try await outstanding.release(brief)
            #expect(try await outstanding.bytes(of: tenant) == 12)
            for turn in [next, stays] { try await outstanding.release(turn) }
            #expect(try await outstanding.bytes(of: tenant) == 0)
            // By number as well.
            let one = limits(1, tenant: 1)
            let (late, last) = (turns(1, tenant: tenant, lifetime: -1000)[0], turns(1, tenant: tenant)[0])
            #expect(try await outstanding.take(late, bytes: 1, limits: one) == nil)
            #expect(try await outstanding.take(last, bytes: 1, limits: one) == nil)
            #expect(try await outstanding.bytes(of: tenant) == 1)
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
