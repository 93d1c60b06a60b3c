import Logging
import PostgresStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct ConnectionTests {
    @Test func refusalsCarryTheirSQLStateAndLeaveTheConnectionUsable() async throws {
        try await withDatabase(migrated: false, poolSize: 1) { database in
            let pool = database.directory
            let session = try await backend(pool)
            #expect(await failure { try await pool.query("SELEKT 1") }?.sqlState == "42601")
            #expect(await failure { try await pool.query("SELECT 1 / $1", [.integer(0)]) }?.sqlState == "22012")
            #expect(await failure { try await pool.query("SELECT * FROM nowhere") }?.sqlState == "42P01")
            #expect(await failure { try await pool.query("SELECT $1", [.text("a\0b")]) }?.sqlState == "22021")
            try await pool.query("CREATE TABLE t (id bigint CONSTRAINT t_key PRIMARY KEY)")
            try await pool.query("INSERT INTO t VALUES (1)")
            guard
                case .server("23505", _, "t_key")? = await failure({ try await pool.query("INSERT INTO t VALUES (1)") })
            else {
                Issue.record("no constraint was named")
                return
            }
            #expect(try await backend(pool) == session)
        }
    }

    @Test func aStatementThatChangedItsResultIsPreparedAgain() async throws {
        try await withDatabase(migrated: false, poolSize: 1) { database in
            try await database.directory.query("CREATE TABLE t AS SELECT 1 AS a")
            #expect(try await database.directory.query("SELECT * FROM t").first?.columnNames == ["a"])
            try await database.directory.query("ALTER TABLE t ADD COLUMN b text")
            #expect(try await database.directory.query("SELECT * FROM t").first?.columnNames == ["a", "b"])
        }
    }

    @Test func preparedStatementsAreBounded() async throws {
        try await withDatabase(migrated: false, poolSize: 1) { database in
            for number in 0..<200 {
                let row = try await database.directory.query("SELECT \(number)::bigint AS v").first
                #expect(try row?.value("v") == Int64(number))
            }
            let row = try await database.directory.query("SELECT count(*) AS n FROM pg_prepared_statements").first
            #expect(try row?.value("n") == Int64(128))
            #expect(try await database.directory.query("SELECT 0::bigint AS v").first?.value("v") == Int64(0))
        }
    }

    @Test func aLateStatementIsEndedByTheServer() async throws {
        try await withDatabase(
            migrated: false, poolSize: 1, configure: { $0.statementTimeout = .milliseconds(100) }
        ) { database in
            let session = try await backend(database.directory)
            #expect(await failure { try await database.directory.query("SELECT pg_sleep(60)") }?.sqlState == "57014")
            #expect(try await backend(database.directory) == session)
        }
    }

    @Test func aCancelledTaskEndsItsStatementAndTheConnection() async throws {
        try await withDatabase(
            migrated: false, poolSize: 1, configure: { $0.statementTimeout = .seconds(600) }
        ) { database in
            let pool = database.directory
            let session = try await backend(pool)
            let running = Task { try await pool.query("SELECT pg_sleep(600)") }
            // A pool of its own watches, since the one of size 1 is busy.
            let uri = try await TestServers.postgres().shards[0]
            let watcher = try openDatabase([uri])
            let isActive = { (state: String) async throws -> Bool in
                let rows = try await watcher.directory.query(
                    "SELECT FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%' AND state = $2",
                    [.integer(session), .text(state)])
                return !rows.isEmpty
            }
            try await eventually { try await isActive("active") }
            running.cancel()
            #expect(await failure { try await running.value } == .cancelled)
            try await eventually { try await !isActive("active") }
            #expect(try await backend(pool) != session)
            await watcher.close()
        }
    }

    @Test func aSecondStatementOnABusyConnectionIsRefused() async throws {
        try await withDatabase(migrated: false) { database in
            try await database.directory.withConnection { connection throws(DatabaseError) in
                let tasks = (0..<2).map { _ in Task { try await connection.query("SELECT pg_sleep(0.2)") } }
                var errors: [DatabaseError?] = []
                for task in tasks { errors.append(await failureIfAny { try await task.value }) }
                #expect(errors.compactMap(\.self) == [.overloaded(shard: "shard0")])
            }
        }
    }

    @Test func copyIsRefusedAndEndsTheConnection() async throws {
        try await withDatabase(migrated: false, poolSize: 1) { database in
            let session = try await backend(database.directory)
            guard
                case .badConfiguration? = await failure({
                    try await database.directory.query("COPY (SELECT 1) TO STDOUT")
                })
            else {
                Issue.record("COPY went through")
                return
            }
            #expect(try await backend(database.directory) != session)
        }
    }

    @Test func refusedLoginsSayWhyButNotThePassword() async throws {
        let uri = try await TestServers.postgres().shards[0]
        let parts = uri.split(separator: "@")
        let login = try openDatabase(["postgresql://intruder:open-sesame@\(parts[parts.count - 1])"])
        let error = try #require(await failure { try await login.directory.query("SELECT 1") })
        guard case .unavailable(_, let reason, sqlState: "28P01") = error else {
            Issue.record("\(error)")
            return
        }
        #expect(reason.contains("28P01: password authentication failed") && !reason.contains("LOCATION"))
        #expect(!"\(error)".contains("open-sesame"))
        await login.close()
    }

    @Test func anUnreachableServerIsUnavailable() async throws {
        let nowhere = try openDatabase(["postgresql://user:pass@127.0.0.1:1/database"])
        guard
            case .unavailable(shard: "shard0", _, sqlState: nil)? = await failure({
                try await nowhere.directory.query("SELECT 1")
            })
        else {
            Issue.record("not unavailable")
            return
        }
        #expect(!nowhere.directory.isAvailable)
        await nowhere.close()
    }
}

/// The server's process behind a pool of one connection.
func backend(_ pool: PostgresPool) async throws -> Int64 {
    try #require(try await pool.query("SELECT pg_backend_pid()::bigint AS pid").first?.value("pid"))
}
