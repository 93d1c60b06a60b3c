import ServiceKit
import Testing

@testable import PostgresStore

/// What Debian's servers cannot be made to say, in the words of a peer.
@Suite(.timeLimit(.minutes(2))) struct ScriptedRefusalTests {
    @Test(arguments: [
        ("08006", true), ("53200", false), ("53400", false), ("57P02", true), ("57P04", true), ("57P05", true),
        ("58030", false), ("F0000", false), ("XX001", true), ("3F000", false), ("99999", false),
    ]) func aRefusedWriteIsRepeatedWhenItIsOver(sqlState: String, isFatal: Bool) async throws {
        let peer = try ScriptedPostgres()
        try await withDatabase(uris: [peer.uri], migrated: false) { database in
            let pool = database.directory
            peer.refuse(.init(moment: .statement, sqlState: sqlState, isFatal: isFatal))
            let error = try #require(await failure { try await pool.write("INSERT INTO t VALUES (1)") })
            #expect(error.sqlState == sqlState && error.isTransient && !error.isDataRefused, "\(error)")
            let concerned = error.refusal == .away ? pool.breaker : pool.writes
            try await eventually {
                _ = await failureIfAny { try await pool.write("INSERT INTO t VALUES (1)") }
                return concerned.state == .open
            }
            #expect((pool.breaker.state == .closed) == (error.refusal == .unable))
            #expect(!pool.takesWrites && pool.refusedEntry == nil)
            peer.refuse(nil)
            try await eventually { await failureIfAny { try await pool.write("INSERT INTO t VALUES (1)") } == nil }
            #expect(pool.takesWrites)
        }
        peer.stop()
    }

    /// One shard of two does not let the process in: the other one's answers do not make up for it.
    @Test(arguments: [
        ("28P01", true), ("28000", true), ("3D000", true), ("42501", true), ("57P03", false), ("53300", false),
        // Would be values that can never be stored, if it were said to a statement.
        ("22023", false),
    ]) func aRefusedSessionIsAnOutage(sqlState: String, isOfCredentials: Bool) async throws {
        let peers = (try ScriptedPostgres(), try ScriptedPostgres(.init(moment: .entry, sqlState: sqlState)))
        try await withDatabase(uris: [peers.0.uri, peers.1.uri], migrated: false) { database in
            let (well, pool) = (database.shards[0].pool, database.shards[1].pool)
            let admits = Probes.admits(database)
            #expect(admits() == nil)
            let error = try #require(await failure { try await pool.write("INSERT INTO t VALUES (1)") })
            guard case .unavailable(shard: "shard1", let reason, sqlState: sqlState) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(reason.contains("FATAL:  \(sqlState): as the test says") && !reason.contains("secret"))
            #expect(error.isTransient && !error.isDataRefused && !error.mayHaveBeenCarriedOut && error.refusal == nil)
            _ = try await well.write("INSERT INTO t VALUES (1)")
            #expect(Probes.anyClosed([well.breaker, pool.breaker])() == nil)
            // What was refused is believed for some seconds only: it is asked again.
            try await eventually {
                _ = await failureIfAny { try await pool.write("INSERT INTO t VALUES (1)") }
                return pool.breaker.state == .open
                    && (admits()?.contains("shard1") == true) == isOfCredentials
            }
            peers.1.refuse(nil)
            try await eventually { await failureIfAny { try await pool.write("INSERT INTO t VALUES (1)") } == nil }
            #expect(admits() == nil)
        }
        peers.0.stop()
        peers.1.stop()
    }

    @Test(arguments: [
        ("connection to server at \"::1\", port 5 failed: FATAL:  28P01: password authentication failed", "28P01"),
        ("connection failed: FATAL:  57P03: the database system is starting up", "57P03"),
        ("connection failed: FATALE:  3D000: il database «a:  B» non esiste", "3D000"),
        ("connection to server failed: Connection refused", nil),
        ("FATAL:  sorry, too many clients already", nil), ("FATAL:  28P0", nil), ("FATAL:  28p01: no", nil), ("", nil),
    ]) func theCodeOfARefusedSession(line: String, sqlState: String?) {
        #expect(PostgresConnection.sqlState(in: line) == sqlState)
    }
}
