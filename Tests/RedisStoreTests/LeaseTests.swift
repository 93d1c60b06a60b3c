import ChatCore
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct LeaseTests {
    @Test func firstDeliveryThatMeetsALeaseIsHeld() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            _ = try await log.reserve(turn)
            let lease = try #require(try await log.acquire(turn, owner: "first", redelivered: false).lease)
            #expect(lease.epoch > 1_700_000_000_000_000)
            #expect(try await log.acquire(turn, owner: "second", redelivered: false) == .held(owner: "first"))
            #expect(try await log.append(lease, first: 0, tokens: tokens("a")).isAppended)
        }
    }

    @Test func redeliveryTakesOverAndTheOldHolderIsFenced() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let old = try #require(try await log.acquire(turn, owner: "old", redelivered: false).lease)
            _ = try await log.append(old, first: 0, tokens: tokens("a", "b"))
            #expect(try await log.recordPlan(old, plan: [1, 0, 255]) == [1, 0, 255])
            let attempts = try await log.beginAttempt(old, mark: 1, node: "n", numericsID: "x", plan: [9])?.attempts
            #expect(attempts == .init(total: 1, withoutProgress: 0))

            let taken = try await log.acquire(turn, owner: "new", redelivered: true)
            let new = try #require(taken.lease)
            #expect(new.epoch > old.epoch)
            #expect(taken.progress?.tokens == tokens("a", "b"))
            #expect(taken.progress?.plan == [1, 0, 255])
            // Its holder said nothing of the attempt: it accuses nobody.
            #expect(taken.progress?.attempts == .init(total: 1, withoutProgress: 0))
            #expect(taken.progress?.history.map(\.node) == ["n"] && taken.progress?.history[0].endReason == nil)
            #expect(taken.progress?.history[0].epoch == old.epoch)

            #expect(try await log.append(old, first: 2, tokens: tokens("stale")) == .fenced)
            #expect(try await log.append(old, first: 2, tokens: []) == .fenced)
            #expect(try await log.recordPlan(old, plan: [2]) == nil)
            #expect(try await log.recordOutcome(old, outcome: [2]) == nil)
            #expect(try await log.beginAttempt(old, mark: 1, node: "n", numericsID: "x", plan: [9]) == nil)
            #expect(try await !log.end(old, next: 2, end: turn.end))
            #expect(try await !log.release(old))
            // The right epoch with another's name is as stale, and so is the right name with another epoch.
            let forged = TurnLog.Lease(turn: turn.id, epoch: new.epoch, owner: "old")
            #expect(try await log.append(forged, first: 2, tokens: tokens("x")) == .fenced)
            let early = TurnLog.Lease(turn: turn.id, epoch: new.epoch + 1, owner: "new")
            #expect(try await log.append(early, first: 2, tokens: tokens("x")) == .fenced)

            #expect(try await log.append(new, first: 2, tokens: tokens("c")).isAppended)
            let events = try await log.follow(turn.id, reader: "g", from: 0).events
            #expect(events == [.token(index: 0, text: "a"), .token(index: 1, text: "b"), .token(index: 2, text: "c")])
        }
    }

    @Test func gapsAndRepeatsAreRefused() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            #expect(try await log.append(lease, first: 1, tokens: tokens("b")) == .gap(expected: 0))
            #expect(try await log.append(lease, first: 0, tokens: tokens("a", "b")).isAppended)
            #expect(try await log.append(lease, first: 0, tokens: tokens("a", "b")) == .gap(expected: 2))
            #expect(try await log.append(lease, first: 2, tokens: []).isAppended)
            #expect(try await log.record(of: turn.id)?.next == 2)
        }
    }

    @Test func firstOutcomeAndPlanStay() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            #expect(try await log.recordOutcome(lease, outcome: [1]) == [1])
            #expect(try await log.recordOutcome(lease, outcome: [2]) == [1])
            #expect(try await log.recordPlan(lease, plan: [3]) == [3])
            #expect(try await log.recordPlan(lease, plan: [4]) == [3])
            // Hidden: readers see no end.
            #expect(try await log.follow(turn.id, reader: "g", from: 0).events.isEmpty)
            let next = try await log.acquire(turn, owner: "p", redelivered: true)
            #expect(next.progress?.outcome == [1])
        }
    }

    @Test func attemptsWithoutProgressAreCountedApart() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            var mark: UInt64 = 0
            func begin(_ verdicts: [TurnLog.Verdict]) async throws -> TurnLog.Attempts? {
                mark += 1
                return try await log.beginAttempt(
                    lease, mark: mark, node: "n", numericsID: "x", plan: [9], verdicts: verdicts)?.attempts
            }
            #expect(try await begin([]) == .init(total: 1, withoutProgress: 0))
            let lost = TurnLog.Verdict(attempt: 1, reason: "lost", isFruitless: true)
            #expect(try await begin([lost]) == .init(total: 2, withoutProgress: 1))
            let full = TurnLog.Verdict(attempt: 2, reason: "full", isFruitless: false)
            #expect(try await begin([full]) == .init(total: 3, withoutProgress: 1))
            #expect(try await log.append(lease, first: 0, tokens: tokens("a")).isAppended)
            #expect(try await begin([]) == .init(total: 4, withoutProgress: 0))
            #expect(try await log.release(lease, verdicts: [.init(attempt: 4, reason: "drain", isFruitless: false)]))
            let next = try await log.acquire(turn, owner: "p", redelivered: false).progress
            #expect(next?.history.map(\.endReason) == ["lost", "full", nil, "drain"] && next?.retries == 0)
        }
    }

    /// Three real losses are three, however many replies are lost on the way.
    @Test func aStartWhoseReplyWasLostCountsOnce() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            func begin(_ mark: UInt64, _ verdicts: [TurnLog.Verdict]) async throws -> (TurnLog.Attempts, Int64)? {
                try await log.beginAttempt(
                    lease, mark: mark, node: "n\(mark)", numericsID: "x", plan: [UInt8(mark)], verdicts: verdicts
                ).map { ($0.attempts, $0.startedAt) }
            }
            _ = try await begin(1, [])
            let lost = TurnLog.Verdict(attempt: 1, reason: "lost", isFruitless: true)
            let begun = try #require(try await begin(2, [lost]))
            #expect(begun.0 == .init(total: 2, withoutProgress: 1))
            for _ in 0..<5 {
                let again = try #require(try await begin(2, [lost]))
                #expect(again.0 == begun.0 && again.1 == begun.1)
            }
            // Another beginning is one, also with a verdict that was said before.
            #expect(try await begin(3, [lost])?.0 == .init(total: 3, withoutProgress: 1))
            let second = TurnLog.Verdict(attempt: 2, reason: "lost too", isFruitless: true)
            #expect(try await log.release(lease, verdicts: [lost, second]))
            let next = try await log.acquire(turn, owner: "p", redelivered: false).progress
            #expect(next?.attempts == .init(total: 3, withoutProgress: 2))
            #expect(next?.history.map(\.endReason) == ["lost", "lost too", nil])
            // The same mark under another lease is another beginning.
            let other = try #require(try await log.acquire(turn, owner: "q", redelivered: true).lease)
            let third = try await log.beginAttempt(other, mark: 3, node: "n", numericsID: "x", plan: [1])
            #expect(third?.attempts.total == 4)
        }
    }

    /// Redis was emptied and its clock stands before the epochs that nodes remember.
    @Test func whoeverHeldATurnTakesItAgainUnderALaterEpoch() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let known: Int64 = 4_000_000_000_000_000
            let lease = try await log.acquire(turn, owner: "o", redelivered: false, known: known).lease
            #expect(lease?.epoch == known + 1)
        }
    }

    @Test func aTurnOnARungIsCancelledWhereItWasParked() async throws {
        let configuration = RedisConfiguration(try await TestServers.redis())
        let turn = Turn.sample()
        let owner = "owner-\(turn.id)"
        let channel = TurnLog.channel(ofOwner: owner)
        let events = Collector<RedisSubscriber.Event>()
        let subscriber = RedisSubscriber(configuration: configuration, channels: [channel], logger: quiet) {
            events.add($0)
        }
        try await running(subscriber) {
            try await withPool { pool in
                try await eventually("subscribed") { events.all == [.connected] }
                let log = TurnLog(pool: pool)
                let lease = try #require(try await log.acquire(turn, owner: owner, redelivered: false).lease)
                #expect(try await log.release(lease, parkedBy: owner))
                #expect(try await log.requestCancel(turn.id, reason: "deleted"))
                try await eventually("told") {
                    events.all.contains(.message(channel: channel, payload: Array(turn.id.description.utf8)))
                }
                let next = try await log.acquire(turn, owner: "p", redelivered: false).progress
                #expect(next?.retries == 1 && next?.cancelReason == "deleted")
            }
        }
    }

    @Test func suspicionsAreCountedUntilTheyAreOver() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let old = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            #expect(try await log.suspect(old, begins: true) == 1)
            let new = try #require(try await log.acquire(turn, owner: "p", redelivered: true).lease)
            #expect(try await log.suspect(old, begins: true) == nil)
            #expect(try await log.suspect(new, begins: true) == 2)
            #expect(try await log.suspect(new, begins: false) == 0)
            #expect(try await log.suspect(new, begins: true) == 1)
            // Whoever gives the turn back was not killed by it.
            #expect(try await log.release(new))
            guard case .acquired(let next, _) = try await log.acquire(turn, owner: "o3", redelivered: false) else {
                throw TestFailure("acquired")
            }
            #expect(try await log.suspect(next, begins: true) == 1)
        }
    }

    @Test func releasedLeaseIsFree() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            #expect(try await log.release(lease))
            #expect(try await log.append(lease, first: 0, tokens: tokens("x")) == .fenced)
            let next = try #require(try await log.acquire(turn, owner: "p", redelivered: false).lease)
            #expect(next.epoch > lease.epoch)
        }
    }

    @Test func cancellationReachesTheHolderAndItsAppends() async throws {
        let configuration = RedisConfiguration(try await TestServers.redis())
        let turn = Turn.sample()
        let owner = "owner-\(turn.id)"
        let events = Collector<RedisSubscriber.Event>()
        let channel = TurnLog.channel(ofOwner: owner)
        let subscriber = RedisSubscriber(
            configuration: configuration, channels: [channel], logger: quiet
        ) { events.add($0) }
        try await running(subscriber) {
            try await withPool { pool in
                try await eventually("subscribed") { events.all == [.connected] }
                let log = TurnLog(pool: pool)
                #expect(try await !log.requestCancel(turn.id, reason: "nobody"))
                let lease = try #require(try await log.acquire(turn, owner: owner, redelivered: false).lease)
                #expect(try await log.requestCancel(turn.id, reason: "deleted"))
                #expect(try await log.requestCancel(turn.id, reason: "again"))
                guard case .appended(let audience) = try await log.append(lease, first: 0, tokens: tokens("a")) else {
                    throw TestFailure("the lease stands")
                }
                #expect(audience.cancelReason == "deleted")
                try await eventually("told") {
                    events.all.contains(.message(channel: channel, payload: Array(turn.id.description.utf8)))
                }
                let next = try await log.acquire(turn, owner: "p", redelivered: true)
                #expect(next.progress?.cancelReason == "deleted")
            }
        }
    }

    @Test func epochRisesOverAnEmptiedRedis() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let old = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            _ = try await log.append(old, first: 0, tokens: tokens("a"))
            _ = try await pool.send("FLUSHALL")
            #expect(try await log.append(old, first: 1, tokens: tokens("b")) == .fenced)
            #expect(try await log.acquire(turn, owner: "o", redelivered: true, creates: false) == .unknown)
            let again = try await log.acquire(turn, owner: "o", redelivered: true)
            let new = try #require(again.lease)
            #expect(new.epoch > old.epoch)
            #expect(again.progress?.tokens == [])
            #expect(try await log.append(new, first: 0, tokens: tokens("a")).isAppended)
            #expect(try await log.record(of: turn.id) == TurnLog.Record(turn, next: 1))
        }
        try await server.stop()
    }
}

extension TurnLog.AppendResult {
    var isAppended: Bool { if case .appended = self { true } else { false } }
}
