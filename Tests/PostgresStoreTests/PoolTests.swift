import PostgresStore
import Synchronization
import TestServers
import Testing

/// How many are inside at once, and how many were at most.
private final class Gauge: Sendable {
    private let counts = Mutex((now: 0, most: 0))
    var most: Int { counts.withLock { $0.most } }
    func enter() { counts.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) } }
    func leave() { counts.withLock { $0.now -= 1 } }
}

@Suite(.timeLimit(.minutes(2))) struct PoolTests {
    @Test func neverMoreConnectionsThanItsSizeAndEveryWaiterIsServed() async throws {
        try await withDatabase(migrated: false, poolSize: 3) { database in
            let gauge = Gauge()
            try await withThrowingTaskGroup(of: Int64.self) { group in
                for _ in 0..<60 {
                    group.addTask {
                        try await database.directory.withConnection { connection throws(DatabaseError) in
                            gauge.enter()
                            defer { gauge.leave() }
                            let row = try await connection.query("SELECT pg_backend_pid()::bigint AS pid").first
                            return try row?.value("pid") ?? 0
                        }
                    }
                }
                var sessions: Set<Int64> = []
                for try await session in group { sessions.insert(session) }
                #expect(sessions.count <= 3)
                #expect(gauge.most <= 3)
            }
        }
    }

    @Test func waitersBeyondTheBoundAreRefusedAtOnce() async throws {
        try await withDatabase(migrated: false, poolSize: 1, configure: { $0.maximumWaiters = 2 }) { database in
            let pool = database.directory
            _ = try await pool.query("SELECT 1")  // not ping: it has little patience
            let results = await withTaskGroup(of: DatabaseError?.self) { group in
                for _ in 0..<5 {
                    group.addTask {
                        do throws(DatabaseError) {
                            try await pool.query("SELECT pg_sleep(0.1)")
                            return nil
                        } catch { return error }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(results.filter { $0 == nil }.count == 3)
            #expect(results.filter { $0 == .overloaded(shard: "shard0") }.count == 2)
        }
    }

    @Test func aWaitEndsByTimeAndByCancellation() async throws {
        try await withDatabase(
            migrated: false, poolSize: 1, configure: { $0.acquireTimeout = .milliseconds(100) }
        ) { database in
            let pool = database.directory
            try await eventually { await failureIfAny { try await pool.ping() } == nil }
            try await pool.withConnection { _ throws(DatabaseError) in
                #expect(await failure { try await pool.query("SELECT 1") } == .overloaded(shard: "shard0"))
                let waiting = Task { try await pool.query("SELECT 1") }
                waiting.cancel()
                #expect(await failure { try await waiting.value } == .cancelled)
            }
            _ = try await pool.query("SELECT 1")  // not ping: it has little patience
        }
    }

    @Test func aTransactionCommitsOrLeavesNothing() async throws {
        try await withDatabase(migrated: false, poolSize: 1) { database in
            let pool = database.directory
            try await pool.query("CREATE TABLE t (v bigint)")
            let session = try await backend(pool)
            try await pool.withTransaction { connection throws(DatabaseError) in
                try await connection.query("INSERT INTO t VALUES (1)")
            }
            let error = await failure {
                try await pool.withTransaction { connection throws(DatabaseError) in
                    try await connection.query("INSERT INTO t VALUES (2)")
                    throw .decoding(column: "v", reason: "for the test")
                }
            }
            #expect(error == .decoding(column: "v", reason: "for the test"))
            // An error that the body keeps to itself must not look like a commit.
            let swallowed = await failure {
                try await pool.withTransaction { connection throws(DatabaseError) in
                    try await connection.query("INSERT INTO t VALUES (3)")
                    do throws(DatabaseError) { try await connection.query("SELECT 1 / 0") } catch {}
                }
            }
            #expect(swallowed?.sqlState == "25P02")
            let rows = try await pool.query("SELECT v FROM t")
            #expect(try rows.map { try $0.value("v", as: Int64.self) } == [1])
            #expect(try await backend(pool) == session)
        }
    }

    @Test func aConnectionLeftInATransactionIsNotLentAgain() async throws {
        try await withDatabase(migrated: false, poolSize: 1) { database in
            let pool = database.directory
            let session = try await backend(pool)
            try await pool.withConnection { connection throws(DatabaseError) in
                try await connection.query("BEGIN")
                try await connection.query("CREATE TABLE left_behind ()")
            }
            #expect(try await backend(pool) != session)
            #expect(await failure { try await pool.query("SELECT FROM left_behind") }?.sqlState == "42P01")
        }
    }

    @Test func aClosedPoolRefuses() async throws {
        let database = try openDatabase([try await TestServers.postgres().shards[0]])
        _ = try await database.directory.query("SELECT 1")  // not ping: it has little patience
        await database.close()
        guard case .unavailable? = await failure({ try await database.directory.ping() }) else {
            Issue.record("a closed pool answered")
            return
        }
    }

    @Test func closingWaitsForBorrowers() async throws {
        let database = try openDatabase([try await TestServers.postgres().shards[0]])
        let pool = database.directory
        let closing = try await pool.withConnection { connection throws(DatabaseError) in
            let closing = Task { await database.close() }
            // New callers are refused from the moment that closing begins.
            do { try await eventually { await refuses(pool) } } catch { Issue.record(error) }
            // What is lent stays usable.
            try await connection.query("SELECT 1")
            return closing
        }
        await closing.value
    }

    private func refuses(_ pool: PostgresPool) async -> Bool {
        do { try await pool.ping() } catch { return true }
        return false
    }
}
