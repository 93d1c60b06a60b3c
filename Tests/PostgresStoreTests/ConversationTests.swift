import ChatCore
import PostgresStore
import Testing

@Suite(.timeLimit(.minutes(2))) struct ConversationTests {
    @Test func historyIsInOrderAndCutFromItsFront() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let conversations = ConversationRepository(database: database)
            let settlements = SettlementRepository(database: database)
            #expect(try await conversations.exists(key) == false)
            #expect(try await conversations.history(of: key, limit: 10).isEmpty)
            // Settled out of order, and two accepted in one millisecond: then the ids decide.
            let numbers = [4, 0, 3, 1, 2]
            for number in numbers {
                let outcome = TurnOutcome.test(
                    number, in: key, acceptedAt: number == 3 ? testEpoch + 2000 : testEpoch + Int64(number) * 1000)
                _ = try await settlements.settle([outcome], on: database.shards[0])
            }
            #expect(try await conversations.exists(key))
            let whole = try await conversations.history(of: key, limit: 10)
            #expect(whole.map(\.turn) == (0..<5).map { TurnID.test($0) })
            #expect(whole.map(\.message) == (0..<5).map { "message \($0)" })
            #expect(whole.allSatisfy { $0.response == "Grüße 👋" && $0.status == .done && $0.system == nil })
            #expect(try await conversations.history(of: key, limit: 2).map(\.turn) == [.test(3), .test(4)])
            #expect(try await conversations.history(of: key, limit: 0).isEmpty)
            #expect(try await conversations.history(of: key, limit: -1).isEmpty)
        }
    }

    /// Turns that gateways with wrong clocks accepted, and among them one of a release that gave no numbers.
    @Test func historyIsInTheOrderOfTheTurnsNumbers() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let conversations = ConversationRepository(database: database)
            let settlements = SettlementRepository(database: database)
            // By number 2, 0, 3, 1; by acceptance and id the other way round.
            let steps: [(number: Int, step: Int64?)] = [(0, 1500), (1, nil), (2, 1000), (3, 2000)]
            let outcomes = steps.map { number, step in
                TurnOutcome.test(
                    number, in: key, system: "system \(number)", acceptedAt: testEpoch + (number == 1 ? 3 : 900),
                    sequence: step.map { testEpoch * 1000 + $0 })
            }
            for outcome in outcomes { _ = try await settlements.settle([outcome], on: database.shards[0]) }
            let history = try await conversations.history(of: key, limit: 10)
            #expect(history.map(\.turn) == [2, 0, 3, 1].map { TurnID.test($0) })
            #expect(history.map(\.position) == [1000, 1500, 2000, 3000].map { testEpoch * 1000 + $0 })
            #expect(try await conversations.history(of: key, limit: 1).map(\.system) == ["system 1"])
            // A turn comes back with its number, and without one when it had none.
            for outcome in outcomes {
                #expect(try await conversations.turn(outcome.turn, tenant: "acme") == outcome)
            }
            // What is no number is not stored; nor does it keep the turn from being.
            let odd = TurnOutcome.test(9, in: key, sequence: -1)
            #expect(try await settlements.settle([odd], on: database.shards[0]).stored.count == 1)
        }
    }

    @Test func theSystemMessageSurvivesTheCut() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let conversations = ConversationRepository(database: database)
            let settlements = SettlementRepository(database: database)
            // The newer of the two is settled first; the older must not overwrite it.
            for (number, system) in [(2, "new"), (0, "old"), (1, nil), (3, nil), (4, nil)] as [(Int, String?)] {
                _ = try await settlements.settle([.test(number, in: key, system: system)], on: database.shards[0])
            }
            let whole = try await conversations.history(of: key, limit: 10)
            #expect(whole.map(\.system) == ["old", nil, "new", nil, nil])
            #expect(try await conversations.history(of: key, limit: 3).map(\.system) == ["new", nil, nil])
            #expect(try await conversations.history(of: key, limit: 2).map(\.system) == ["new", nil])
        }
    }

    @Test func historyIsBoundedInBytesFromItsNewestTurnOn() async throws {
        try await withDatabase { database in
            let key = try ConversationKey.test()
            let conversations = ConversationRepository(database: database)
            let settlements = SettlementRepository(database: database)
            let text = String(repeating: "é", count: 500)
            let statuses: [TurnOutcome.Status] = [.done, .done, .failed, .done, .cancelled, .done]
            let outcomes = statuses.enumerated().map { number, status in
                TurnOutcome.test(
                    number, in: key, status: status, system: number == 0 ? "s" : nil, message: text, response: "r",
                    eventEnds: [1])
            }
            #expect(try await settlements.settle(outcomes, on: database.shards[0]).stored.count == 6)
            // Each shown turn has 1,001 bytes; the failed one has none.
            let cut = try await conversations.history(of: key, limit: 10, maximumBytes: 3500)
            #expect(cut.map(\.turn) == (1..<6).map { TurnID.test($0) })
            #expect(cut.map(\.message) == ["", "", text, text, text])
            #expect(cut.map(\.response) == ["", "", "r", "r", "r"])
            #expect(cut.map(\.system) == ["s", nil, nil, nil, nil])
            let whole = try await conversations.history(of: key, limit: 10, maximumBytes: 5006)
            #expect(whole.map(\.message) == [text, text, "", text, text, text])
            #expect(whole.first?.system == "s")
            // The newest is known also where it alone is too large.
            let nothing = try await conversations.history(of: key, limit: 10, maximumBytes: 0)
            #expect(nothing.map(\.turn) == [.test(5)] && nothing.first?.message == "" && nothing.first?.system == "s")
        }
    }

    @Test func tenantsAndUsersSeeTheirOwnOnly() async throws {
        try await withDatabase(shards: 2) { database in
            let conversations = ConversationRepository(database: database)
            let settlements = SettlementRepository(database: database)
            // One number of a conversation, three owners; one name of a user at two tenants.
            let keys = [
                try ConversationKey.test(tenant: "acme", user: "ada", 7),
                try ConversationKey.test(tenant: "umbrella", user: "ada", 7),
                try ConversationKey.test(tenant: "acme", user: "bob", 7),
            ]
            for (number, key) in keys.enumerated() {
                _ = try await settlements.settle(
                    [.test(number, in: key)], on: database.shard(for: key.owner))
            }
            for (number, key) in keys.enumerated() {
                #expect(try await conversations.history(of: key, limit: 9).map(\.turn) == [.test(number)])
            }
            #expect(try await conversations.turn(.test(0), tenant: "acme")?.conversation == keys[0])
            #expect(try await conversations.turn(.test(0), tenant: "umbrella") == nil)
            #expect(try await conversations.turn(.test(0), tenant: "acme", user: "bob") == nil)
            #expect(try await conversations.turn(.test(1), tenant: "acme") == nil)
            #expect(try await conversations.exists(.test(tenant: "umbrella", user: "bob", 7)) == false)
        }
    }

    @Test func usersSpreadOverTheRingAndAreFoundOnTheirShards() async throws {
        try await withDatabase(shards: 2) { database in
            let conversations = ConversationRepository(database: database)
            let settlements = SettlementRepository(database: database)
            let outcomes = try (0..<60).map { TurnOutcome.test($0, in: try ConversationKey.test(user: "user\($0)")) }
            for shard in database.shards {
                let mine = outcomes.filter { database.shard(for: $0.conversation.owner).name == shard.name }
                #expect(mine.count > 10)
                #expect(try await settlements.settle(mine, on: shard).stored.count == mine.count)
                let row = try #require(try await shard.pool.query("SELECT count(*) AS n FROM turns").first)
                #expect(try row.value("n") == Int64(mine.count))
            }
            for outcome in outcomes {
                #expect(try await conversations.turn(outcome.turn, tenant: "acme") == outcome)
            }
        }
    }
}

/// A conversation of a user of the first shard, and one of the second's.
func usersOfTwoShards(_ database: ShardedDatabase) throws -> (ConversationKey, ConversationKey) {
    let keys = try (0..<100).map { try ConversationKey.test(user: "user\($0)") }
    let owned = { (shard: Int) in keys.first { database.shard(for: $0.owner).name == database.shards[shard].name } }
    return (try #require(owned(0)), try #require(owned(1)))
}
