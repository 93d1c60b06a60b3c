import ChatCore
import PostgresStore
import ServiceKit
import TestServers
import Testing

/// A real PgBouncer in transaction mode stands between: sessions are shared, and named statements are not carried over.
@Suite(.timeLimit(.minutes(3))) struct PoolerTests {
    @Test func theRepositoriesWorkThroughAPooler() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"])
        let pooler = try await TestServers.startPgBouncer(before: server.endpoint, sessions: 2)
        let uri = pooler.endpoint.uri(to: server.endpoint.shards[0])
        // Several clients, as several services: each prepares its own statements, in an order of its own.
        try await withDatabase(uris: [uri], poolSize: 3) { database in
            let others = try (0..<3).map { _ in try openDatabase([uri], poolSize: 3) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, client) in ([database] + others).enumerated() {
                    group.addTask { try await work(client, user: "user\(index)") }
                }
                try await group.waitForAll()
            }
            let rows = try await database.directory.query("SELECT count(*) AS n, count(DISTINCT id) AS d FROM turns")
            #expect(try rows.first?.value("n") == Int64(80) && rows.first?.value("d") == Int64(80))
            for client in [database] + others {
                #expect(client.directory.breaker.state == .closed && client.directory.takesWrites)
            }
            for other in others { await other.close() }
        }
        try await pooler.stop()
        try await server.stop()
    }

    /// What a service does, mixed: each answer is to its own question.
    private func work(_ database: ShardedDatabase, user: String) async throws {
        let settlements = SettlementRepository(database: database)
        let conversations = ConversationRepository(database: database)
        let letters = DeadLetterRepository(directory: database.directory)
        let keys = KeyRepository(directory: database.directory)
        let conversation = try ConversationKey.test(user: user)
        let offset = Int(user.utf8.last ?? 0) * 1000
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 {
                group.addTask {
                    let outcome = TurnOutcome.test(offset + number, in: conversation, message: "\(user) \(number)")
                    let settled = try await settlements.settle([outcome], on: database.shards[0])
                    #expect(settled.stored == [outcome.turn])
                    let found = try await conversations.turn(outcome.turn, tenant: "acme", user: user)
                    #expect(found == outcome)
                    let isNew = try await letters.keep(
                        queue: "q", messageID: "\(user)-\(number)", reason: "r", turn: outcome.turn,
                        owner: conversation.owner, body: [1, 2])
                    #expect(isNew)
                    #expect(try await keys.find("no such key") == nil)
                    #expect(
                        try await database.directory.query("SELECT $1::bigint AS v", [.integer(Int64(number))])
                            .first?.value("v") == Int64(number))
                }
            }
            try await group.waitForAll()
        }
        #expect(try await conversations.history(of: conversation, limit: 100).count == 20)
    }

    /// A session that forgets what it has prepared, as one that an operator resets.
    @Test func aForgottenStatementIsSentAgainWithoutAName() async throws {
        try await withDatabase(migrated: false, poolSize: 1) { database in
            let pool = database.directory
            for _ in 0..<2 { #expect(try await pool.query("SELECT 7::bigint AS v").first?.value("v") == Int64(7)) }
            try await pool.query("DEALLOCATE ALL")
            #expect(try await pool.query("SELECT 7::bigint AS v").first?.value("v") == Int64(7))
            #expect(try await pool.query("SELECT $1 AS v", [.text("ü")]).first?.value("v") == "ü")
            let rows = try await pool.query("SELECT count(*) AS n FROM pg_prepared_statements")
            #expect(try rows.first?.value("n") == Int64(0))
        }
    }
}
