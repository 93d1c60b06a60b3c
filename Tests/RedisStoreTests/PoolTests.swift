import Foundation
import TestServers
import Testing

@testable import RedisStore

@Suite(.timeLimit(.minutes(2))) struct PoolTests {
    @Test func carriesEveryByteInEveryPlace() async throws {
        try await withPool { pool in
            let hostile: [UInt8] = [0, 13, 10, 36, 42, 255, 0x80] + Array("*3\r\n$3\r\nDEL".utf8)
            let key = "bytes:\(UUID())\r\n\u{0}"
            let stored = try await pool.send("SET", .text(key), .bytes(hostile), "EX", 60)
            #expect(stored == .status("OK"))
            #expect(try await pool.send("GET", .text(key)) == .string(hostile))
            #expect(try await pool.send("GET", .text(key + "x")).isNull)
            #expect(try await pool.send("STRLEN", .text(key)).int == Int64(hostile.count))
        }
    }

    @Test func refusalsAreTyped() async throws {
        try await withPool { pool in
            let key = "refused:\(UUID())"
            _ = try await pool.send("SET", .text(key), "text", "EX", 60)
            let error = await failure { () throws(RedisError) in _ = try await pool.send("LPUSH", .text(key), "x") }
            guard case .server(let text) = error else { throw TestFailure("a list operation on a string") }
            #expect(text.hasPrefix("WRONGTYPE"))
        }
    }

    @Test func pipelineKeepsOrderAndPlacesErrors() async throws {
        try await withPool { pool in
            let key = RedisArgument("pipeline:\(UUID())")
            let replies = try await pool.pipeline([
                ("SET", [key, "1", "EX", "60"]), ("INCR", [key]), ("LPUSH", [key, "x"]), ("GET", [key]),
            ])
            #expect(replies.count == 4)
            #expect(replies[1] == .integer(2))
            guard case .error = replies[2] else { throw TestFailure("an error in its place") }
            #expect(replies[3].text == "2")
        }
    }

    @Test func manyCallersShareTheConnections() async throws {
        try await withPool { pool in
            let name = UUID().uuidString
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<2000 {
                    group.addTask {
                        let reply = try await pool.send("ECHO", "\(name)-\(number)")
                        #expect(reply.text == "\(name)-\(number)")
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// More than a socket's buffers: the writer has to wait for room, and replies come in many pieces.
    @Test func largeValuesPassBothWays() async throws {
        try await withPool { pool in
            let large = [UInt8](repeating: 7, count: 24 << 20)
            let key = RedisArgument("large:\(UUID())")
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await pool.send("SET", [key, .bytes(large), "EX", "60"]) }
                for number in 0..<100 {
                    group.addTask {
                        let reply = try await pool.send("ECHO", "\(number)")
                        #expect(reply.text == "\(number)")
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await pool.send("GET", key).data == large)
            _ = try await pool.send("DEL", key)
        }
    }

    @Test func scriptsRunBeforeAndAfterTheServerForgetsThem() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let script = RedisScript("return {KEYS[1], ARGV[1], '\(UUID())' ~= ''}")
            for _ in 0..<3 {
                let reply = try await pool.run(script, keys: ["k"], arguments: ["a"])
                #expect(reply.array?.first?.text == "k")
                _ = try await pool.send("SCRIPT", "FLUSH")
            }
        }
        try await server.stop()
    }

    @Test func severalScriptsGoTogetherAlsoWhenTheServerForgetsSomeOfThem() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let calls = (0..<3).map { number in
                ScriptCall(
                    script: RedisScript("return {KEYS[1], ARGV[1], '\(UUID())' ~= ''}"), keys: ["k\(number)"],
                    arguments: ["a"])
            }
            func keys() async throws -> [String?] { try await pool.run(calls).map { $0.array?.first?.text } }
            #expect(try await keys() == ["k0", "k1", "k2"])
            _ = try await pool.send("SCRIPT", "FLUSH")
            #expect(try await keys() == ["k0", "k1", "k2"])
            _ = try await pool.send("SCRIPT", "FLUSH")
            _ = try await pool.run(calls[1])
            #expect(try await keys() == ["k0", "k1", "k2"])
            // One that is refused keeps none of the others from running.
            let writes = (0..<2).map { number in
                ScriptCall(
                    script: RedisScript("return redis.call('INCR', KEYS[1]) -- \(UUID())"), keys: ["n\(number)"],
                    arguments: [])
            }
            _ = try await pool.send("RPUSH", "n0", "no number")
            let error = await failure { () throws(RedisError) in _ = try await pool.run(writes) }
            guard case .server = error else { throw TestFailure("refused") }
            #expect(try await pool.send("GET", "n1").int == 1)
        }
        try await server.stop()
    }

    @Test func cancellationReleasesTheCallerAndTheConnectionGoesOn() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        var configuration = RedisConfiguration(server.endpoint)
        configuration.poolSize = 1
        try await withPool(configuration) { pool in
            let waiting = Task {
                await failure { () throws(RedisError) in _ = try await pool.send("BLPOP", "never", "0") }
            }
            try await withPool(RedisConfiguration(server.endpoint)) { other in
                try await eventually("the caller waits at the server") {
                    try await other.send("INFO", "clients").text?.contains("blocked_clients:1") == true
                }
                waiting.cancel()
                #expect(await waiting.value == .cancelled)
                // The reply that nobody waits for comes, and the next one is not mistaken for it.
                _ = try await other.send("RPUSH", "never", "now")
            }
            #expect(try await pool.send("ECHO", "still here").text == "still here")
        }
        try await server.stop()
    }

    @Test func waitingCommandsAreBounded() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        var configuration = RedisConfiguration(server.endpoint)
        configuration.poolSize = 1
        configuration.maximumPending = 8
        try await withPool(configuration) { pool in
            let refused = await withTaskGroup(of: RedisError?.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        await failure { () throws(RedisError) in _ = try await pool.send("BLPOP", "never", "1") }
                    }
                }
                var errors: [RedisError] = []
                for await error in group { if let error { errors.append(error) } }
                return errors
            }
            #expect(refused.allSatisfy { $0 == .overloaded })
            #expect(refused.count == 12)
            try await pool.ping()
        }
        try await server.stop()
    }

    @Test func wrongPasswordIsSaidToCallers() async throws {
        var configuration = RedisConfiguration(try await TestServers.redis())
        configuration.password = "wrong"
        let pool = RedisPool(configuration: configuration, logger: quiet)
        try await running(pool) {
            try await eventually("the refusal is reported") {
                let error = await failure { () throws(RedisError) in try await pool.ping() }
                guard case .unavailable(let reason) = error else { return false }
                return reason.contains("AUTH refused")
            }
        }
    }

    @Test func clockIsTheServers() async throws {
        try await withPool { pool in
            let clock = RedisClock(pool: pool, refresh: .zero)
            let reply = try await pool.send("TIME").array
            let before = (reply?[0].int ?? 0) * 1000 + (reply?[1].int ?? 0) / 1000
            let now = try await clock.now()
            let later = try await clock.now()
            #expect(now >= before)
            #expect(later >= now)
        }
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
