import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct GenerationMarkTests {
    @Test func staysWhileRedisRemembersAndMovesWhenItMayHaveForgotten() async throws {
        let server = try await TestServers.startRedis(persistent: true)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let mark = GenerationMark(pool: pool)
            #expect(mark.lastSeen == nil)
            let first = try await mark.keptSince()
            #expect(mark.lastSeen == first)
            try await eventually("time passes") { try await RedisClock(pool: pool).now() > first }
            #expect(try await mark.keptSince() == first)
            #expect(try await pool.send("PTTL", "generation").int ?? 0 > 0)

            _ = try await pool.send("FLUSHALL")
            let emptied = try await mark.keptSince()
            #expect(emptied > first)
            try await eventually("time passes") { try await RedisClock(pool: pool).now() > emptied }

            // Restarted, it may have lost its last writes, whatever it has read back from its disk.
            try await server.kill()
            try await eventually("the loss is noticed") { !pool.isConnected }
            try await server.restart()
            try await pool.waitUntilConnected()
            #expect(try await mark.keptSince() > emptied)

            // What somebody else wrote there is no time.
            for text in ["-5", "soon", "99999999999999999999"] {
                _ = try await pool.send("HSET", "generation", "since", .text(text))
                await #expect(throws: RedisError.self) { try await mark.keptSince() }
            }
        }
        try await server.stop()
    }
}
