import ChatCore
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct TurnLogTests {
    @Test func reservationIsMadeOnce() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let reservation = try await log.reserve(turn)
            #expect(reservation == .reserved)
            let record = TurnLog.Record(turn)
            #expect(try await log.reserve(turn) == .existed(record))
            #expect(try await log.record(of: turn.id) == record)
            #expect(try await log.record(of: Turn.sample().id) == nil)
        }
    }

    @Test func onlyAnUnleasedReservationIsForgotten() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            _ = try await log.reserve(turn)
            #expect(try await log.forget(turn.id))
            #expect(try await log.record(of: turn.id) == nil)
            #expect(try await !log.forget(turn.id))
            _ = try await log.acquire(turn, owner: "o", redelivered: false)
            #expect(try await !log.forget(turn.id))
            #expect(try await log.record(of: turn.id) != nil)
        }
    }

    @Test func readersSeeEveryTokenOnceFromAnyIndex() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            _ = try await log.append(lease, first: 0, tokens: tokens("a", "", "c"))
            _ = try await log.append(lease, first: 3, tokens: tokens("d", "é🙂"))
            let all: [TurnEvent] = [
                .token(index: 0, text: "a"), .token(index: 1, text: ""), .token(index: 2, text: "c"),
                .token(index: 3, text: "d"), .token(index: 4, text: "é🙂"),
            ]
            // Index 1 and 4 lie in the middle of an entry.
            for from in 0...5 {
                let (events, exists) = try await log.follow(turn.id, reader: "g", from: from)
                #expect(exists)
                #expect(events == Array(all[from...]))
            }
            #expect(try await log.end(lease, next: 5, end: turn.end))
            for from in 0...7 {
                let events = try await log.follow(turn.id, reader: "g", from: from).events
                #expect(events == Array(all[min(from, 5)...]) + [.end(next: 5, turn.end)])
            }
            #expect(try await !log.follow(Turn.sample().id, reader: "g", from: 0).exists)
        }
    }

    @Test func turnWithoutTokensEnds() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            #expect(try await log.end(lease, next: 0, end: turn.end))
            #expect(try await log.follow(turn.id, reader: "g", from: 0).events == [.end(next: 0, turn.end)])
        }
    }

    @Test func terminalEventIsWrittenOnce() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            _ = try await log.append(lease, first: 0, tokens: tokens("a"))
            await #expect(throws: RedisError.self) { try await log.end(lease, next: 2, end: turn.end) }
            #expect(try await log.end(lease, next: 1, end: turn.end))
            #expect(try await log.end(lease, next: 1, end: turn.end))
            #expect(try await log.follow(turn.id, reader: "g", from: 1).events == [.end(next: 1, turn.end)])
            #expect(try await log.append(lease, first: 1, tokens: tokens("late")) == .fenced)
            #expect(try await log.recordOutcome(lease, outcome: [1]) == nil)
            #expect(try await log.acquire(turn, owner: "p", redelivered: true) == .ended)
            #expect(try await log.record(of: turn.id)?.hasEnded == true)
            #expect(try await !log.requestCancel(turn.id, reason: "late"))
        }
    }

    @Test func anEndedTurnKeepsItsLogAndNothingOfItsPlanAndOutcome() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            let record = RedisArgument("turn:{\(turn.id)}:record")
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            let large = [UInt8](repeating: 7, count: 1 << 20)
            _ = try await log.beginAttempt(lease, mark: 1, node: "n", numericsID: "x", plan: large)
            _ = try await log.append(lease, first: 0, tokens: tokens("a"))
            _ = try await log.recordOutcome(lease, outcome: large)
            #expect(try await pool.send("MEMORY", "USAGE", record, "SAMPLES", 0).int ?? 0 > 2 << 20)
            #expect(try await log.end(lease, next: 1, end: turn.end))
            #expect(try await pool.send("MEMORY", "USAGE", record, "SAMPLES", 0).int ?? .max < 4096)
            // What its readers and a late holder find is what they found before.
            #expect(try await log.end(lease, next: 1, end: turn.end))
            #expect(try await log.follow(turn.id, reader: "g", from: 1).events == [.end(next: 1, turn.end)])
            #expect(try await log.acquire(turn, owner: "p", redelivered: true) == .ended)
            #expect(try await log.recordPlan(lease, plan: large) == nil)
        }
    }

    @Test func hintsCarryTheLogsEvents() async throws {
        let configuration = RedisConfiguration(try await TestServers.redis())
        let turn = Turn.sample()
        let reader = "reader-\(turn.id)"
        let hints = Collector<RedisSubscriber.Event>()
        let subscriber = RedisSubscriber(
            configuration: configuration, channels: [TurnLog.channel(ofReader: reader)], logger: quiet
        ) { hints.add($0) }
        try await running(subscriber) {
            try await withPool { pool in
                try await eventually("subscribed") { hints.all == [.connected] }
                let log = TurnLog(pool: pool)
                let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
                _ = try await log.append(lease, first: 0, tokens: tokens("before"))
                _ = try await log.follow(turn.id, reader: reader, from: 0)
                let append = try await log.append(lease, first: 1, tokens: tokens("b", "c"))
                #expect(append == .appended(.init(readers: 1)))
                _ = try await log.append(lease, first: 3, tokens: tokens("d"))
                _ = try await log.end(lease, next: 4, end: turn.end)
                try await eventually("three hints") { hints.all.count == 4 }
                var told: [TurnEvent] = []
                for case .message(_, let payload) in hints.all {
                    let hint = try TurnLog.decode(hint: payload)
                    #expect(hint.turn == turn.id)
                    told += hint.events
                }
                #expect(try await log.follow(turn.id, reader: reader, from: 1).events == told)
            }
        }
    }

    /// Where a turn waits reaches whoever reads, and leaves no trace.
    @Test func waitingIsToldAndNotLogged() async throws {
        let turn = Turn.sample()
        let reader = "g-\(turn.id)"
        let hints = Collector<RedisSubscriber.Event>()
        let subscriber = RedisSubscriber(
            configuration: RedisConfiguration(try await TestServers.redis()),
            channels: [TurnLog.channel(ofReader: reader)], logger: quiet
        ) { hints.add($0) }
        try await running(subscriber) {
            try await withPool { pool in
                try await eventually("subscribed") { hints.all == [.connected] }
                let log = TurnLog(pool: pool)
                _ = try await log.reserve(turn)
                _ = try await log.follow(turn.id, reader: reader, from: 0)
                let waits = [TurnWait(place: 3, estimate: 1500), TurnWait(place: 1, estimate: nil)]
                for wait in waits { try await log.tell(wait, of: turn.id) }
                try await eventually("two hints") { hints.all.count == 3 }
                var told: [TurnEvent] = []
                for case .message(_, let payload) in hints.all { told += try TurnLog.decode(hint: payload).events }
                #expect(told == waits.map { .waiting($0) })
                #expect(try await log.follow(turn.id, reader: reader, from: 0).events == [])
            }
        }
    }

    @Test func absenceBeginsWhenTheLastReaderLeaves() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            _ = try await log.reserve(turn)
            #expect(try await log.presence(of: turn.id)?.absentForMilliseconds != nil)
            _ = try await log.follow(turn.id, reader: "one", from: 0)
            _ = try await log.follow(turn.id, reader: "two", from: 0)
            #expect(try await log.presence(of: turn.id) == .init(readers: 2))
            try await log.unfollow(turn.id, reader: "one")
            #expect(try await log.presence(of: turn.id) == .init(readers: 1))
            try await log.unfollow(turn.id, reader: "two")
            let left = try #require(try await log.presence(of: turn.id))
            #expect(left.readers == 0)
            #expect(left.absentForMilliseconds != nil)
            _ = try await log.follow(turn.id, reader: "two", from: 0)
            #expect(try await log.presence(of: turn.id) == .init(readers: 1))
            #expect(try await log.presence(of: Turn.sample().id) == nil)
        }
    }

    /// A gateway that died never says that it left.
    @Test func silentReaderExpires() async throws {
        try await withPool { pool in
            let log = TurnLog(pool: pool, readerLifetime: .milliseconds(30))
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            _ = try await log.follow(turn.id, reader: "dead", from: 0)
            try await eventually("nobody reads") { try await log.presence(of: turn.id)?.readers == 0 }
            guard case .appended(let audience) = try await log.append(lease, first: 0, tokens: []) else {
                throw TestFailure("the lease stands")
            }
            #expect(audience.readers == 0)
            #expect(audience.absentForMilliseconds != nil)
        }
    }
}

extension TurnLog.Record {
    init(_ turn: Turn, hasEnded: Bool = false, next: Int = 0) {
        self.init(
            owner: turn.conversation.owner, conversation: turn.conversation.id, kind: turn.kind,
            acceptedAt: turn.acceptedAt, deadline: turn.deadline, hasEnded: hasEnded, next: next)
    }
}
