import ChatCore
import ServiceKit
import TestServers
import Testing

@testable import PostgresStore

/// What servers refuse, and what becomes of it.
@Suite(.timeLimit(.minutes(3))) struct RefusalTests {
    @Test(arguments: [
        ("08006", ServerRefusal.away), ("08P01", .away), ("28P01", .credentials), ("28000", .credentials),
        ("3D000", .credentials),
        ("53200", .away), ("53300", .away), ("57P01", .away), ("57P02", .away), ("57P03", .away), ("58030", .away),
        ("XX001", .away), ("25006", .readOnly), ("53100", .unable), ("53400", .unable), ("57014", .unable),
        ("42501", .unable), ("42P01", .unable), ("40001", .conflict), ("40P01", .conflict), ("55P03", .conflict),
        ("26000", .unknownStatement), ("42P05", .unknownStatement), ("22021", .data), ("23505", .data),
        ("54000", .data),
        // Not in the table.
        ("99999", .unable), ("55006", .unable), ("", .unable), ("25", .unable),
    ]) func theTableSaysWhatARefusalMeans(sqlState: String, meaning: ServerRefusal) {
        let error = DatabaseError.server(sqlState: sqlState, message: "", constraint: nil)
        #expect(error.refusal == meaning)
        // Only values may be given up.
        #expect(error.isTransient == (meaning != .data) && error.isDataRefused == (meaning == .data))
        let (onRead, onWrite) = (
            error.verdicts(on: .read, afterWaiting: .zero, of: .seconds(1)),
            error.verdicts(on: .write, afterWaiting: .zero, of: .seconds(1))
        )
        switch meaning {
        case .away, .credentials: #expect(onRead.shard == .failure && onWrite.shard == .failure)
        case .readOnly: #expect(onWrite == (.success, .failure))
        case .unable: #expect(onRead.shard == .failure && onWrite == (.success, .failure))
        case .conflict, .data: #expect(onRead.shard == .success && onWrite == (.success, .success))
        case .unknownStatement: #expect(onRead.shard == .neither && onWrite == (.neither, .neither))
        }
    }

    /// A live server becomes read-only, and takes writes again.
    @Test func refusedWritesDoNotStopReads() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"])
        try await withDatabase(uris: server.endpoint.shards, poolSize: 2) { database in
            let service = Task { try await database.run() }
            let pool = database.directory
            let settlements = SettlementRepository(database: database)
            let conversations = ConversationRepository(database: database)
            let conversation = try ConversationKey.test()
            let (before, after) = (TurnOutcome.test(0, in: conversation), TurnOutcome.test(1, in: conversation))
            #expect(try await settlements.settle([before], on: database.shards[0]).stored == [before.turn])
            #expect(try await pool.ping() && pool.takesWrites)

            try await server.setReadOnly(true)
            let session = try await backend(pool)
            let refused = try #require(await failure { try await settlements.settle([after], on: database.shards[0]) })
            #expect(refused.sqlState == "25006" && refused.isTransient)
            // The address may lead to another server by now.
            #expect(try await backend(pool) != session)
            try await eventually {
                _ = await failureIfAny { try await settlements.settle([after], on: database.shards[0]) }
                return pool.writes.state == .open
            }
            #expect(pool.breaker.state == .closed && !pool.takesWrites)
            #expect(try await conversations.history(of: conversation, limit: 10).map(\.turn) == [before.turn])
            // Refused by the breaker, or by the server when the breaker's pause has just ended.
            let another = try #require(await failure { try await pool.write("CREATE TABLE refused ()") })
            #expect(another.isTransient)

            try await server.setReadOnly(false)
            // Without any caller.
            try await eventually { pool.takesWrites }
            #expect(try await settlements.settle([after], on: database.shards[0]).stored == [after.turn])
            service.cancel()
            _ = await service.result
        }
        try await server.stop()
    }

    /// Whoever only reads finds out too, as a gateway that looks whether its shards are well.
    @Test func askingWhetherItIsWellFindsOut() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"])
        let database = try openDatabase(server.endpoint.shards)
        let service = Task { try await database.run() }
        let pool = database.directory
        try await eventually { await failureIfAny { try await pool.ping() } == nil }
        try await server.setReadOnly(true)
        try await eventually { try await !pool.ping() && !pool.takesWrites }
        #expect(pool.breaker.state == .closed && pool.writes.lastFailure == "the server is read-only")
        try await server.setReadOnly(false)
        try await eventually { pool.takesWrites }
        service.cancel()
        _ = await service.result
        try await server.stop()
    }

    @Test func ofSeveralHostsTheOneThatTakesWrites() async throws {
        let servers = (
            try await TestServers.startPostgres(databases: ["shard0"]),
            try await TestServers.startPostgres(databases: ["shard0"])
        )
        let (first, second) = (servers.0.endpoint, servers.1.endpoint)
        for server in [first, second] {
            try await withDatabase(uris: server.shards, migrated: false) { database in
                _ = try await database.directory.query("CREATE ROLE app LOGIN PASSWORD 'app'")
            }
        }
        let uri = "postgresql://app:app@\(first.host):\(first.port),\(second.host):\(second.port)/shard0"
        func port() async throws -> Int64? {
            try await withDatabase(uris: [uri], migrated: false) { database in
                try await database.directory.query("SELECT inet_server_port()::bigint AS port").first?.value("port")
            }
        }
        #expect(try await port() == Int64(first.port))
        try await servers.0.setReadOnly(true)
        #expect(try await port() == Int64(second.port))
        try await servers.1.setReadOnly(true)
        // Some can be read, and that one is.
        #expect(try await port() != nil)
        try await servers.0.stop()
        try await servers.1.stop()
    }

    @Test func aServerWithoutFreeConnectionsIsWaitedFor() async throws {
        let uri = try await TestServers.postgres().freshDatabases(count: 1)[0]
        let role = "few_" + String(UInt32.random(in: .min ... .max), radix: 16)
        try await withDatabase(uris: [uri], migrated: false) { owner in
            try await owner.directory.query("CREATE ROLE \(role) LOGIN PASSWORD 'few' CONNECTION LIMIT 1")
            let tail = try #require(uri.split(separator: "@").last)
            let few = "postgresql://\(role):few@\(tail)"
            // One connection serves all, though the pool would have more.
            try await withDatabase(uris: [few], migrated: false) { database in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<20 { group.addTask { try await database.directory.query("SELECT pg_sleep(0.01)") } }
                    try await group.waitForAll()
                }
                // Nobody else is let in meanwhile, and is as soon as there is room.
                let other = try openDatabase([few])
                let error = try #require(await failure { try await other.directory.query("SELECT 1") })
                #expect(
                    error.isTransient && !error.mayHaveBeenCarriedOut && "\(error)".contains("too many connections"))
                await database.close()
                try await eventually { await failureIfAny { try await other.directory.ping() } == nil }
                await other.close()
            }
            try await owner.directory.query("DROP ROLE \(role)")
        }
    }

    @Test func aSessionThatAnOperatorEndsIsReplaced() async throws {
        // The statement's own time does not end it first, however busy the machine is.
        try await withDatabase(migrated: false, configure: { $0.statementTimeout = .seconds(120) }) { database in
            let pool = database.directory
            let running = Task { try await pool.query("SELECT pg_sleep(120)") }
            try await eventually {
                try await !pool.query(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE wait_event = 'PgSleep' AND datname = current_database()
                    """
                ).isEmpty
            }
            let error = try #require(await failure { try await running.value })
            #expect(
                error.isTransient && (error.sqlState == "57P01" || error == .connectionLost(shard: "shard0")),
                "\(error)")
            #expect(try await pool.query("SELECT 1").count == 1)
        }
    }

    @Test func aPasswordThatIsNotRightAnyMoreOpensTheBreaker() async throws {
        let uri = try await TestServers.postgres().freshDatabases(count: 1)[0]
        let role = "late_" + String(UInt32.random(in: .min ... .max), radix: 16)
        try await withDatabase(uris: [uri], migrated: false) { owner in
            try await owner.directory.query("CREATE ROLE \(role) LOGIN PASSWORD 'right'")
            let tail = try #require(uri.split(separator: "@").last)
            let database = try openDatabase(["postgresql://\(role):right@\(tail)"])
            let service = Task { try await database.run() }
            let pool = database.directory
            try await eventually { await failureIfAny { try await pool.ping() } == nil }
            try await owner.directory.query("ALTER ROLE \(role) PASSWORD 'another'")
            try await owner.directory.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", [.text(role)])
            try await eventually {
                _ = await failureIfAny { try await pool.ping() }
                return pool.breaker.state == .open
            }
            #expect(pool.breaker.lastFailure.contains("password authentication failed"))
            #expect(!pool.breaker.lastFailure.contains("right"))
            try await owner.directory.query("ALTER ROLE \(role) PASSWORD 'right'")
            try await eventually { pool.breaker.state == .closed }
            service.cancel()
            _ = await service.result
            try await owner.directory.query("DROP ROLE \(role)")
        }
    }

    /// Reads go on, whatever right is missing to write.
    @Test func aRightThatIsMissingIsAnOutageOfWrites() async throws {
        let uri = try await TestServers.postgres().freshDatabases(count: 1)[0]
        let role = "reader_" + String(UInt32.random(in: .min ... .max), radix: 16)
        try await withDatabase(uris: [uri]) { owner in
            try await owner.directory.query("CREATE ROLE \(role) LOGIN PASSWORD 'reader'")
            try await owner.directory.query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO \(role)")
            let tail = try #require(uri.split(separator: "@").last)
            try await withDatabase(uris: ["postgresql://\(role):reader@\(tail)"], migrated: false) { database in
                let settlements = SettlementRepository(database: database)
                let conversation = try ConversationKey.test()
                let outcome = TurnOutcome.test(0, in: conversation)
                #expect(
                    await failure { try await settlements.settle([outcome], on: database.shards[0]) }?.sqlState
                        == "42501")
                try await eventually {
                    _ = await failureIfAny { try await settlements.settle([outcome], on: database.shards[0]) }
                    return database.directory.writes.state == .open
                }
                #expect(database.directory.breaker.state == .closed)
                #expect(
                    try await ConversationRepository(database: database).history(of: conversation, limit: 1).isEmpty)
                // A write finds out that it is well again.
                try await owner.directory.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO \(role)")
                try await owner.directory.query("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO \(role)")
                try await eventually {
                    (try? await settlements.settle([outcome], on: database.shards[0]).stored) == [outcome.turn]
                }
                #expect(database.directory.takesWrites)
            }
            try await owner.directory.query("DROP OWNED BY \(role)")
            try await owner.directory.query("DROP ROLE \(role)")
        }
    }
}
