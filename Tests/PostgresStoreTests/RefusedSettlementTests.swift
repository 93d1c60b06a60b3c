import ChatCore
import Foundation
import SeededRandom
import ServiceKit
import TestServers
import Testing

@testable import PostgresStore

/// What real servers refuse to store: the call says so, nothing is stored by it, and its repetition stores it once.
@Suite(.timeLimit(.minutes(3))) struct RefusedSettlementTests {
    // MARK: Outages

    @Test(.enabled(if: TestServers.canHaveDisks, "for root alone: it mounts a file system"))
    func aFullDiskIsAnOutageOfWrites() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"], diskMiB: 64)
        try await server.ask(
            "CREATE TABLESPACE small LOCATION '\(server.disk)'", "CREATE DATABASE small TABLESPACE small")
        let uri = server.endpoint.shards[0].replacing("/shard0", with: "/small")
        try await withDatabase(uris: [uri]) { database in
            let pool = database.directory
            let conversation = try ConversationKey.test()
            let before = TurnOutcome.test(0, in: conversation)
            #expect(try await settle(before, database) == [before.turn])
            // More than the pages that are there have room for, however well it is compressed.
            var random = SeededGenerator(seed: 1)
            let text = String((0..<200_000).map { _ in Character(.init(UInt8.random(in: 32...126, using: &random))) })
            let after = TurnOutcome.test(1, in: conversation, response: text, eventEnds: [text.utf8.count])

            try server.fillDisk()
            let error = await failure { try await settle(after, database) }
            #expect(error?.sqlState == "53100" && error?.refusal == .unable && error?.isTransient == true)
            try await eventually {
                _ = await failureIfAny { try await settle(after, database) }
                return pool.writes.state == .open
            }
            #expect(pool.breaker.state == .closed && pool.writes.lastFailure.contains("53100"))
            let history = try await ConversationRepository(database: database).history(of: conversation, limit: 10)
            #expect(history.map(\.turn) == [before.turn])

            try server.freeDisk()
            try await isStored(after, database)
            #expect(pool.takesWrites)
        }
        try await server.stop()
    }

    /// 57P01
    @Test func aSessionThatIsEndedInMidStatementIsAnOutage() async throws {
        try await withDatabase { database in
            let outcome = TurnOutcome.test(0, in: try .test())
            let error = try await whileTurnsAreLocked(database) {
                async let refused = failure { try await settle(outcome, database) }
                try await endWaiting(database, "pg_terminate_backend")
                return await refused
            }
            // The server's last words, or nothing when the connection was gone before they were read.
            #expect(error?.sqlState == "57P01" || error == .connectionLost(shard: "shard0"), "\(error as Any)")
            #expect(error?.isTransient == true)
            try await isStored(outcome, database)
        }
    }

    /// 57014, by an operator.
    @Test func aStatementThatIsCancelledIsAnOutageOfWrites() async throws {
        try await withDatabase { database in
            let outcome = TurnOutcome.test(0, in: try .test())
            let error = try await whileTurnsAreLocked(database) {
                async let refused = failure { try await settle(outcome, database) }
                try await endWaiting(database, "pg_cancel_backend")
                return await refused
            }
            #expect(error?.sqlState == "57014" && error?.refusal == .unable && error?.isTransient == true)
            try await isStored(outcome, database)
        }
    }

    /// 57014, by the server's clock.
    @Test func aStatementWhoseTimeIsOverIsAnOutageOfWrites() async throws {
        let uri = try await TestServers.postgres().freshDatabases(count: 1)[0]
        try await withDatabase(uris: [uri]) { owner in
            let outcome = TurnOutcome.test(0, in: try .test())
            try await withDatabase(
                uris: [uri], migrated: false, configure: { $0.statementTimeout = .milliseconds(200) }
            ) { database in
                let error = try await whileTurnsAreLocked(owner) {
                    await failure { try await settle(outcome, database) }
                }
                #expect(error?.sqlState == "57014" && error?.refusal == .unable && error?.isTransient == true)
            }
            try await isStored(outcome, owner)
        }
    }

    /// 57P03: a shutdown that waits for those who are there lets nobody else in.
    @Test func aServerThatShutsDownIsWaitedFor() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"], persistent: true)
        let uris = server.endpoint.shards
        let outcome = TurnOutcome.test(0, in: try .test())
        let database = try openDatabase(uris)
        try await withDatabase(uris: uris, poolSize: 1) { owner in
            let server = try await postmaster(of: owner)
            try await owner.directory.withConnection { connection throws(DatabaseError) in
                kill(server, SIGTERM)
                do {
                    try await eventually {
                        try await refusalToNewcomers(uris) == "57P03"
                    }
                } catch { Issue.record("\(error)") }
                let error = await failure { try await settle(outcome, database) }
                guard case .unavailable(_, _, sqlState: "57P03") = error else {
                    Issue.record("\(error as Any)")
                    return
                }
                #expect(error?.isTransient == true && error?.mayHaveBeenCarriedOut == false)
                #expect(database.directory.refusedEntry == nil)
                // Whoever is in is served to the end.
                #expect(try await connection.query("SELECT 1").count == 1)
            }
        }
        try await server.restart()
        try await isStored(outcome, database)
        await database.close()
        try await server.stop()
    }

    /// 57P02, which reaches a session as a warning before the connection ends; then 57P03, while the server recovers.
    @Test func aServerWhoseProcessesCrashIsWaitedFor() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"], persistent: true)
        try await withDatabase(uris: server.endpoint.shards) { database in
            let conversation = try ConversationKey.test()
            let (before, outcome) = (TurnOutcome.test(0, in: conversation), TurnOutcome.test(1, in: conversation))
            #expect(try await settle(before, database) == [before.turn])
            let other = try openDatabase(server.endpoint.shards, poolSize: 1)
            let victim = try await backend(other.directory)
            let lost = await failure {
                try await whileTurnsAreLocked(database) {
                    let refused = Task { await failure { try await settle(outcome, database) } }
                    await untilWaiting(1, database)
                    kill(pid_t(victim), SIGKILL)
                    let error = await refused.value
                    #expect(error?.isTransient == true, "\(error as Any)")
                    #expect(error == .connectionLost(shard: "shard0") || error?.sqlState == "57P02", "\(error as Any)")
                }
            }
            // The lock's own transaction is lost with the rest.
            #expect(lost?.isTransient == true)
            try await isStored(outcome, database)
            let history = try await ConversationRepository(database: database).history(of: conversation, limit: 10)
            #expect(history.map(\.turn) == [before.turn, outcome.turn])
            await other.close()
        }
        try await server.stop()
    }

    // MARK: Conflicts

    @Test func aLockThatIsNotToBeHadIsAConflict() async throws {
        let uri = try await TestServers.postgres().freshDatabases(count: 1)[0]
        try await withDatabase(uris: [uri]) { owner in
            let outcome = TurnOutcome.test(0, in: try .test())
            try await withDatabase(uris: [uri + "?options=-c%20lock_timeout%3D50ms"], migrated: false) { database in
                let error = try await whileTurnsAreLocked(owner) {
                    await failure { try await settle(outcome, database) }
                }
                #expect(error?.sqlState == "55P03" && error?.refusal == .conflict && error?.isTransient == true)
                // The shard does what it is there for.
                #expect(database.directory.takesWrites)
                try await isStored(outcome, database)
            }
        }
    }

    /// The settlement is the one of two that the server rolls back, and is made again at once.
    @Test func aSettlementThatLosesADeadlockIsMadeAgain() async throws {
        try await withDatabase { database in
            let pool = database.directory
            // Before each turn is stored: takes the first lock, waits for the gate, wants the second lock.
            try await pool.query(
                """
                CREATE FUNCTION crosswise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    PERFORM pg_advisory_xact_lock(1), pg_advisory_xact_lock(3), pg_advisory_xact_lock(2);
                    RETURN NEW;
                END $$
                """)
            try await pool.query(
                "CREATE TRIGGER crosswise BEFORE INSERT ON turns FOR EACH ROW EXECUTE FUNCTION crosswise()")
            let outcome = TurnOutcome.test(0, in: try .test())
            let (settling, other) = try await pool.withTransaction { gate throws(DatabaseError) in
                try await gate.query("SELECT pg_advisory_xact_lock(3)")
                let settling = Task { try await settle(outcome, database) }
                await untilWaiting(1, database)
                let other = Task {
                    try await pool.withTransaction { connection throws(DatabaseError) in
                        // Who waits longer than this looks for a deadlock, and is the one to give way.
                        try await connection.query("SET LOCAL deadlock_timeout = '60s'")
                        try await connection.query("SELECT pg_advisory_xact_lock(2)")
                        return try await connection.query("SELECT pg_advisory_xact_lock(1)").count
                    }
                }
                // Now each has a lock that the other one wants; the gate opens with this transaction's end.
                await untilWaiting(2, database)
                return (settling, other)
            }
            #expect(try await settling.value == [outcome.turn])
            #expect(try await other.value == 1)
            try await isStored(outcome, database, alreadyBefore: true)
            try await eventually {
                try await pool.query(
                    "SELECT FROM pg_stat_database WHERE datname = current_database() AND deadlocks = 1"
                ).count == 1
            }
            #expect(pool.takesWrites)
        }
    }

    @Test func ofTwoTransactionsInADeadlockOneIsRolledBackAndMayBeRepeated() async throws {
        try await withDatabase(migrated: false) { database in
            let pool = database.directory
            try await makeCounters(pool)
            let meeting = Meeting()
            let results = await withTaskGroup(of: (order: [Int64], error: DatabaseError?).self) { group in
                for order in [[1, 2], [2, 1]] as [[Int64]] {
                    group.addTask {
                        let error = await failureIfAny {
                            try await pool.withTransaction { connection throws(DatabaseError) in
                                try await connection.query("SET LOCAL deadlock_timeout = '10ms'")
                                try await increment(order[0], on: connection)
                                await meeting.meet()
                                try await increment(order[1], on: connection)
                            }
                        }
                        return (order, error)
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let refused = results.filter { $0.error != nil }
            #expect(refused.map(\.error?.sqlState) == ["40P01"] && refused.first?.error?.refusal == .conflict)
            #expect(try await counters(pool) == [1, 1])
            let order = try #require(refused.first?.order)
            try await pool.withTransaction { connection throws(DatabaseError) in
                for counter in order { try await increment(counter, on: connection) }
            }
            #expect(try await counters(pool) == [2, 2])
            #expect(pool.takesWrites)
        }
    }

    @Test func aTransactionThatCannotBeSerialisedIsRolledBackAndMayBeRepeated() async throws {
        try await withDatabase(migrated: false) { database in
            let pool = database.directory
            try await makeCounters(pool)
            func incrementBoth(_ inBetween: () async throws(DatabaseError) -> Void) async throws(DatabaseError) {
                try await pool.withTransaction { connection throws(DatabaseError) in
                    try await connection.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                    try await increment(1, on: connection)
                    try await inBetween()
                    try await increment(2, on: connection)
                }
            }
            let error = await failure {
                try await incrementBoth { () throws(DatabaseError) in
                    try await pool.withTransaction { other throws(DatabaseError) in try await increment(2, on: other) }
                }
            }
            #expect(error?.sqlState == "40001" && error?.refusal == .conflict && error?.isTransient == true)
            #expect(try await counters(pool) == [0, 1])
            try await incrementBoth {}
            #expect(try await counters(pool) == [1, 2])
            #expect(pool.takesWrites)
        }
    }

    /// Another worker stores the same turn meanwhile, in a database whose transactions see one moment only.
    @Test func aSettlementThatCannotBeSerialisedIsMadeAgain() async throws {
        let uri = try await TestServers.postgres().freshDatabases(count: 1)[0]
        let strict = uri + "?options=-c%20default_transaction_isolation%3Dserializable"
        try await withDatabase(uris: [uri]) { owner in
            try await withDatabase(uris: [strict], migrated: false) { database in
                let outcome = TurnOutcome.test(0, in: try .test())
                var batch = SettlementBatch()
                try batch.append(outcome)
                let parameters = batch.parameters
                let settling = try await owner.directory.withTransaction { connection throws(DatabaseError) in
                    try await connection.query(SettlementBatch.statement, parameters)
                    let settling = Task { try await settle(outcome, database) }
                    await untilWaiting(1, owner)
                    return settling
                }
                // It was stored, by the other one.
                #expect(try await settling.value == [])
                try await isStored(outcome, database, alreadyBefore: true)
                #expect(database.directory.takesWrites)
            }
        }
    }
}

// MARK: -

/// - Returns: what is newly stored.
/// - Throws: also what the settlement says of an outcome that it gives up.
private func settle(_ outcome: TurnOutcome, _ database: ShardedDatabase) async throws(DatabaseError) -> Set<TurnID> {
    let settlement = try await SettlementRepository(database: database).settle([outcome], on: database.shards[0])
    if let refused = settlement.refused[outcome.turn] { throw refused }
    return settlement.stored
}

/// Repeats the settlement as a settler does until the shard takes it; then the turn is there once, and so is its usage.
private func isStored(
    _ outcome: TurnOutcome, _ database: ShardedDatabase, alreadyBefore: Bool = false,
    at location: SourceLocation = #_sourceLocation
) async throws {
    var stored: Set<TurnID> = []
    try await eventually {
        let error = await failureIfAny { stored.formUnion(try await settle(outcome, database)) }
        #expect(error?.isTransient != false, "\(error as Any)", sourceLocation: location)
        return error == nil
    }
    #expect(stored == (alreadyBefore ? [] : [outcome.turn]), sourceLocation: location)
    let rows = try await database.directory.query(
        "SELECT count(*) AS n FROM turns WHERE id = ANY($1)", [.turns([outcome.turn])])
    #expect(try rows.first?.value("n") == Int64(1), sourceLocation: location)
}

/// Nobody can store turns until `body` returns.
private func whileTurnsAreLocked<R: Sendable>(
    _ database: ShardedDatabase, _ body: () async throws -> R
) async throws -> R {
    let pool = database.directory
    let connection = try await pool.acquire(patience: .seconds(30))
    do {
        try await connection.query("BEGIN")
        try await connection.query("LOCK TABLE turns IN ACCESS EXCLUSIVE MODE")
        let result = try await body()
        try await connection.query("ROLLBACK")
        await pool.giveBack(connection)
        return result
    } catch {
        await pool.giveBack(connection)
        throw error
    }
}

/// Returns when so many statements of this database wait for a lock.
private func untilWaiting(_ count: Int, _ database: ShardedDatabase) async {
    func waiting() async throws -> Int {
        try await database.directory.query(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).count
    }
    while (try? await waiting()) != count { try? await Task.sleep(for: .milliseconds(10)) }
}

/// Ends the statement, or the session, that waits for a lock.
private func endWaiting(_ database: ShardedDatabase, _ function: String) async throws {
    try await eventually {
        try await !database.directory.query(
            """
            SELECT \(function)(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        ).isEmpty
    }
}

/// The SQLSTATE that a new session is refused with; nil when it is let in.
private func refusalToNewcomers(_ uris: [String]) async throws -> String? {
    let newcomer = try openDatabase(uris)
    let error = await failureIfAny { try await newcomer.directory.query("SELECT 1") }
    await newcomer.close()
    guard case .unavailable(_, _, let sqlState) = error else { return nil }
    return sqlState
}

private func postmaster(of database: ShardedDatabase) async throws -> pid_t {
    let file = try await database.directory.query("SELECT pg_read_file('postmaster.pid') AS file").first
    let text: String = try #require(try file?.value("file"))
    return try #require(text.split(separator: "\n").first.flatMap { pid_t($0) })
}

private func makeCounters(_ pool: PostgresPool) async throws {
    try await pool.query("CREATE TABLE counters AS SELECT n::bigint, 0::bigint AS v FROM generate_series(1, 2) n")
}

private func increment(_ counter: Int64, on connection: PostgresConnection) async throws(DatabaseError) {
    try await connection.query("UPDATE counters SET v = v + 1 WHERE n = $1", [.integer(counter)])
}

private func counters(_ pool: PostgresPool) async throws -> [Int64] {
    try await pool.query("SELECT v FROM counters ORDER BY n").map { try $0.value("v") }
}

/// Two who wait for each other.
private actor Meeting {
    private var other: CheckedContinuation<Void, Never>?

    func meet() async {
        if let other { return other.resume() }
        await withCheckedContinuation { other = $0 }
    }
}
