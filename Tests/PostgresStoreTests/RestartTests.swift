import ChatCore
import PostgresStore
import TestServers
import Testing

/// Servers that are killed, paused and started again.
@Suite(.timeLimit(.minutes(3))) struct RestartTests {
    @Test func aKilledServerFailsWhatIsUnderWayAndIsFoundAgain() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"])
        let database = try openDatabase(server.endpoint.shards)
        let pool = database.directory
        let service = Task { try await database.run() }
        try await pool.query("CREATE TABLE t AS SELECT 1 AS v")
        let running = Task { try await pool.query("SELECT pg_sleep(60)") }
        try await eventually {
            let rows = try await pool.query("SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
            return !rows.isEmpty
        }
        try await server.kill()
        #expect(await failure { try await running.value } == .connectionLost(shard: "shard0"))
        try await eventually { !pool.isAvailable }
        let error = try #require(await failure { try await pool.query("SELECT v FROM t") })
        #expect(error.isTransient && !error.mayHaveBeenCarriedOut)

        try await server.restart()
        // Without any caller: the upkeep finds it.
        try await eventually { pool.isAvailable }
        #expect(try await pool.query("SELECT 1::bigint AS v").first?.value("v") == Int64(1))
        service.cancel()
        _ = await service.result
        try await server.stop()
    }

    @Test func callersAloneFindAServerAgainToo() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"])
        let database = try openDatabase(server.endpoint.shards)
        _ = try await database.directory.query("SELECT 1")  // not ping: it has little patience
        try await server.stop()
        try await eventually { await failureIfAny { try await database.directory.ping() } != nil }
        try await server.restart()
        try await eventually { await failureIfAny { try await database.directory.ping() } == nil }
        await database.close()
        try await server.stop()
    }

    @Test func aServerThatSaysNothingTimesOutAndItsConnectionIsGivenUp() async throws {
        let server = try await TestServers.startPostgres(databases: ["shard0"])
        let database = try openDatabase(server.endpoint.shards, poolSize: 1) { $0.connectTimeout = .milliseconds(300) }
        let pool = database.directory
        try await eventually { await failureIfAny { try await pool.ping() } == nil }
        let session = try await backend(pool)
        try await server.pause()
        #expect(await failure { try await pool.ping() } == .timedOut(shard: "shard0"))
        // A new connection gets no answer either.
        guard case .unavailable? = await failure({ try await pool.query("SELECT 1") }) else {
            Issue.record("a paused server was available")
            return
        }
        try await server.resume()
        try await eventually { await failureIfAny { try await pool.ping() } == nil }
        #expect(try await backend(pool) != session)
        await database.close()
        try await server.stop()
    }

    @Test func oneShardDownLeavesTheOthersWorking() async throws {
        let servers = (
            try await TestServers.startPostgres(databases: ["shard0"]),
            try await TestServers.startPostgres(databases: ["shard0"])
        )
        try await withDatabase(uris: servers.0.endpoint.shards + servers.1.endpoint.shards) { database in
            let settlements = SettlementRepository(database: database)
            let conversations = ConversationRepository(database: database)
            let (here, there) = try usersOfTwoShards(database)
            // The test's server writes commits out a little later: what it has not, a kill takes along.
            try await database.shards[1].pool.query("CHECKPOINT")
            try await servers.1.kill()

            let outcome = TurnOutcome.test(0, in: here)
            #expect(try await settlements.settle([outcome], on: database.shards[0]).stored == [outcome.turn])
            #expect(try await conversations.history(of: here, limit: 10).count == 1)
            #expect(await failure { try await conversations.history(of: there, limit: 10) }?.isTransient == true)

            let results = await database.onAll { shard throws(DatabaseError) in
                try await shard.pool.query("SELECT 1").count
            }
            #expect((try? results[0].result.get()) == 1)
            #expect((try? results[1].result.get()) == nil)
            // Found on the shard that lives; not found is not claimed while a shard is silent.
            #expect(try await conversations.turn(outcome.turn, tenant: "acme") == outcome)
            #expect(await failure { try await conversations.turn(.test(9), tenant: "acme") }?.isTransient == true)

            try await eventually {
                _ = await failureIfAny { try await database.shards[1].pool.ping() }
                return database.shards[1].pool.breaker.state == .open
            }
            #expect(database.shards[0].pool.breaker.state == .closed)
            // A violated constraint is the caller's fault.
            for _ in 0..<10 {
                _ = await failureIfAny { try await database.shards[0].pool.query("SELECT 1/0") }
            }
            #expect(database.shards[0].pool.breaker.state == .closed)

            try await servers.1.restart()
            try await eventually { await failureIfAny { try await database.shards[1].pool.ping() } == nil }
            #expect(database.shards[1].pool.breaker.state == .closed)
            #expect(try await conversations.turn(.test(9), tenant: "acme") == nil)
        }
        try await servers.0.stop()
        try await servers.1.stop()
    }
}
