import ChatCore
import PostgresStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct SettlementTests {
    @Test func aBatchTwiceIsStoredOnce() async throws {
        try await withDatabase { database in
            let repository = SettlementRepository(database: database)
            let key = try ConversationKey.test()
            let outcomes = (0..<5).map { TurnOutcome.test($0, in: key) }
            let first = try await repository.settle(outcomes, on: database.shards[0])
            #expect(first == Settlement(stored: Set(outcomes.map(\.turn))))
            #expect(try await repository.settle(outcomes, on: database.shards[0]) == Settlement())
            // Half new, half old.
            let more = outcomes.suffix(2) + [TurnOutcome.test(5, in: key)]
            #expect(try await repository.settle(Array(more), on: database.shards[0]).stored == [.test(5)])
            try await expectCounts(database, turns: 6, messages: 12, conversations: 1, usage: 6)
        }
    }

    @Test func aTurnTwiceInABatchIsStoredOnceAsItCameFirst() async throws {
        try await withDatabase { database in
            let repository = SettlementRepository(database: database)
            let key = try ConversationKey.test()
            let outcomes = [
                TurnOutcome.test(1, in: key, response: "first"), .test(1, in: key, response: "second"),
                .test(2, in: key),
            ]
            #expect(try await repository.settle(outcomes, on: database.shards[0]).stored == [.test(1), .test(2)])
            try await expectCounts(database, turns: 2, messages: 4, conversations: 1, usage: 2)
            let turn = try await ConversationRepository(database: database).turn(.test(1), tenant: "acme")
            #expect(turn?.response == "first")
        }
    }

    @Test func manyWorkersAtOnceStoreEachTurnOnce() async throws {
        try await withDatabase(poolSize: 6) { database in
            let repository = SettlementRepository(database: database)
            let keys = try (1...7).map { try ConversationKey.test(user: "user\($0 % 3)", Int64($0)) }
            let outcomes = (0..<120).map { TurnOutcome.test($0, in: keys[$0 % keys.count]) }
            let stored = try await withThrowingTaskGroup(of: Set<TurnID>.self) { group in
                for worker in 0..<6 {
                    // Each in an order of its own: locks taken crosswise would be deadlocks.
                    let mine = worker.isMultiple(of: 2) ? outcomes : outcomes.reversed()
                    group.addTask {
                        var stored: Set<TurnID> = []
                        for start in stride(from: 0, to: mine.count, by: 40) {
                            let batch = Array(mine[start..<start + 40])
                            stored.formUnion(try await repository.settle(batch, on: database.shards[0]).stored)
                        }
                        return stored
                    }
                }
                return try await group.reduce(into: [Set<TurnID>]()) { $0.append($1) }
            }
            // Every turn was new to exactly one worker.
            #expect(stored.map(\.count).reduce(0, +) == 120)
            #expect(stored.reduce(into: Set()) { $0.formUnion($1) }.count == 120)
            try await expectCounts(database, turns: 120, messages: 240, conversations: 7, usage: 120)
        }
    }

    @Test func everythingOfATurnComesBack() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let ends = [0, 1, 300, 300, 17_000, 40_000]
            let outcome = TurnOutcome.test(
                3, in: key, status: .failed, error: "the node was lost", system: "Be brief.", message: "q\"',{}\\ü",
                response: String(repeating: "a", count: 40_000), eventEnds: ends, seed: .max)
            _ = try await SettlementRepository(database: database).settle([outcome], on: database.shards[0])
            let conversations = ConversationRepository(database: database)
            #expect(try await conversations.turn(outcome.turn, tenant: "acme") == outcome)
            #expect(try await conversations.turn(outcome.turn, tenant: "acme", user: "ada") == outcome)
        }
    }

    @Test func whatATurnWasAskedForUnderComesBack() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let idempotency = Turn.Idempotency(key: "order-7", requestDigest: String(repeating: "a", count: 64))
            var first = TurnOutcome.test(3, in: key)
            first.idempotency = idempotency
            first.replayOf = .test(1)
            first.degradation = .init(contextTokens: 512, requestedMaxTokens: 256, requestedModel: "la\"rge")
            first.attemptLog = [
                .init(node: "node-a", epoch: 7, startedAt: testEpoch, endReason: "the node was lost\u{0}"),
                .init(node: "node-b", epoch: 8, startedAt: testEpoch + 5),
            ]
            var later = TurnOutcome.test(9, in: key)
            later.idempotency = .init(key: "order-7", requestDigest: String(repeating: "b", count: 64))
            var poison = TurnOutcome.test(10, in: key)
            poison.idempotency = .init(key: "", requestDigest: String(repeating: "b", count: 64))
            let settled = try await SettlementRepository(database: database).settle(
                [first, later, poison, .test(11, in: key)], on: database.shards[0])
            #expect(settled.stored == [first.turn, later.turn, .test(11)])
            guard case .decoding("idempotency_key", _)? = settled.refused[poison.turn] else {
                Issue.record("\(settled.refused)")
                return
            }
            let conversations = ConversationRepository(database: database)
            // jsonb holds no U+0000.
            first.attemptLog?[0].endReason = "the node was lost\u{1A}"
            #expect(try await conversations.turn(first.turn, tenant: "acme") == first)
            func turn(_ key: String, user: String = "ada", since: Int64 = testEpoch) async throws -> TurnID? {
                try await conversations.turn(
                    idempotencyKey: key, of: UserKey(tenant: "acme", user: user), since: since)?.turn
            }
            #expect(try await turn("order-7") == later.turn)
            #expect(try await turn("order-7", since: testEpoch + 9001) == nil)
            #expect(try await turn("order-8") == nil)
            #expect(try await turn("order-7", user: "bob") == nil)
        }
    }

    @Test func nulBecomesSubstituteAndEventEndsStayRight() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let outcome = TurnOutcome.test(0, in: key, message: "a\0b", response: "x\0é", eventEnds: [1, 2, 4])
            let settled = try await SettlementRepository(database: database).settle([outcome], on: database.shards[0])
            #expect(settled == Settlement(stored: [outcome.turn]))
            let turn = try await ConversationRepository(database: database).turn(outcome.turn, tenant: "acme")
            #expect(turn?.message == "a\u{1A}b")
            #expect(turn?.response == "x\u{1A}é")
            #expect(turn?.eventEnds == [1, 2, 4])
        }
    }

    @Test func poisonIsRefusedAloneWithItsReason() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            var outcomes = (0..<20).map { TurnOutcome.test($0, in: key) }
            // One that only the server sees, and those that never get there.
            outcomes[7] = .test(7, in: key, promptTokens: -1)
            outcomes[13] = .test(13, in: key, promptTokens: -1)
            outcomes[3] = .test(3, in: key, response: "abc", eventEnds: [2, 1])
            outcomes[4] = .test(4, in: key, acceptedAt: .max - 10_000)
            outcomes[5] = .test(5, in: try ConversationKey.test(user: "a\0"))
            outcomes[6] = .test(6, in: try ConversationKey.test(user: String(repeating: "u", count: 129)))
            let settled = try await SettlementRepository(database: database).settle(outcomes, on: database.shards[0])
            let poison = [3, 4, 5, 6, 7, 13]
            #expect(Set(settled.refused.keys) == Set(poison.map { TurnID.test($0) }))
            #expect(settled.stored.count == 14)
            guard case .server("23514", _, "turns_prompt_tokens_check")? = settled.refused[.test(7)],
                case .decoding("event_ends", _)? = settled.refused[.test(3)],
                case .decoding("accepted_at", _)? = settled.refused[.test(4)],
                case .decoding("user", _)? = settled.refused[.test(5)],
                case .decoding("user", _)? = settled.refused[.test(6)]
            else {
                Issue.record("\(settled.refused)")
                return
            }
            try await expectCounts(database, turns: 14, messages: 28, conversations: 1, usage: 14)
        }
    }

    @Test func longListsAndLongTextsAreSeveralStatements() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let long = String(repeating: "é", count: 5 << 20)
            let outcomes = (0..<520).map { number in
                TurnOutcome.test(number, in: key, response: number < 3 ? long : "short", eventEnds: [])
            }
            let settled = try await SettlementRepository(database: database).settle(outcomes, on: database.shards[0])
            #expect(settled.stored.count == 520)
        }
    }

    @Test func anotherShardsUserIsRefused() async throws {
        try await withDatabase(shards: 2) { database in
            let (here, there) = try usersOfTwoShards(database)
            let settled = try await SettlementRepository(database: database).settle(
                [.test(0, in: here), .test(1, in: there)], on: database.shards[0])
            #expect(settled.stored == [.test(0)])
            #expect(Array(settled.refused.keys) == [.test(1)])
        }
    }

    @Test func deletingAUserDeletesEverythingOfIt() async throws {
        try await withDatabase { database in
            let (ada, bob) = (try ConversationKey.test(user: "ada"), try ConversationKey.test(user: "bob"))
            _ = try await SettlementRepository(database: database).settle(
                [.test(0, in: ada), .test(1, in: bob)], on: database.shards[0])
            try await database.directory.query("DELETE FROM users WHERE tenant = 'acme' AND user_name = 'ada'")
            try await expectCounts(database, turns: 1, messages: 2, conversations: 1, usage: 1)
        }
    }

    private func expectCounts(
        _ database: ShardedDatabase, turns: Int64, messages: Int64, conversations: Int64, usage: Int64,
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        let row = try #require(
            try await database.directory.query(
                """
                SELECT (SELECT count(*) FROM turns) AS turns, (SELECT count(*) FROM messages) AS messages,
                    (SELECT count(*) FROM conversations) AS conversations,
                    (SELECT sum(turn_count)::bigint FROM conversations) AS counted,
                    (SELECT sum(turns)::bigint FROM usage) AS usage,
                    (SELECT sum(completion_tokens)::bigint FROM usage) AS tokens
                """
            ).first)
        #expect(try row.value("turns") == turns, sourceLocation: location)
        #expect(try row.value("counted") == turns, sourceLocation: location)
        #expect(try row.value("messages") == messages, sourceLocation: location)
        #expect(try row.value("conversations") == conversations, sourceLocation: location)
        #expect(try row.value("usage") == usage, sourceLocation: location)
        #expect(try row.value("tokens") == usage * 4, sourceLocation: location)
    }
}
