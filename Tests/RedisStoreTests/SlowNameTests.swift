import Dispatch
import TestServers
import Testing

@testable import RedisStore

/// A host's name is looked up for each new connection, and that may take long.
@Suite(.timeLimit(.minutes(2))) struct SlowNameTests {
    @Test func aSlowAnswerCostsNoOtherConnection() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        let answers = DispatchSemaphore(value: 0)
        let isSlow = Flag(false)
        var configuration = RedisConfiguration(server.endpoint)
        configuration.host = "redis.example"
        configuration.commandTimeout = .milliseconds(300)
        configuration.lookUp = { _ in
            if isSlow.isSet { answers.wait() }
            return .success([server.endpoint.host])
        }
        let pool = RedisPool(configuration: configuration, logger: quiet)
        try await running(pool) {
            try await pool.waitUntilConnected()
            try await eventually("both are connected") { pool.isFullyConnected }
            isSlow.isSet = true
            let list = try await pool.send("CLIENT", "LIST").text ?? ""
            let ids = list.split(separator: "\n").compactMap { line in
                line.split(separator: " ").first?.split(separator: "=").last.map(String.init)
            }
            _ = await failure { () throws(RedisError) in _ = try await pool.send("CLIENT", "KILL", "ID", .text(ids[0]))
            }
            try await eventually("one is lost") { !pool.isFullyConnected }
            // Longer than the command time-out: a thread that stood still would lose the other one too.
            let end = ContinuousClock.now + .seconds(1)
            while ContinuousClock.now < end { try await pool.ping() }
            isSlow.isSet = false
            answers.signal()
            try await eventually("the answer has come") { pool.isFullyConnected }
        }
        for _ in 0..<8 { answers.signal() }
        try await server.stop()
    }

    @Test func theNextAddressIsTriedAndAWrongNameIsSaid() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        var configuration = RedisConfiguration(server.endpoint)
        configuration.host = "redis.example"
        configuration.lookUp = { _ in .success(["127.0.0.2", server.endpoint.host]) }
        try await withPool(configuration) { pool in try await pool.ping() }
        configuration.lookUp = { _ in .failure(.init(reason: "redis.example: not known")) }
        let pool = RedisPool(configuration: configuration, logger: quiet)
        try await running(pool) {
            try await eventually("it is said to callers") {
                let error = await failure { () throws(RedisError) in try await pool.ping() }
                guard case .unavailable(let reason) = error else { return false }
                return reason.contains("not known")
            }
        }
        try await server.stop()
    }

    @Test func addressesAreFound() throws {
        #expect(HostAddresses.literal("127.0.0.1") == ["127.0.0.1"])
        #expect(HostAddresses.literal("::1") == ["::1"])
        #expect(HostAddresses.literal("localhost") == nil)
        #expect(try HostAddresses.find("localhost").get().first == "127.0.0.1")
        #expect(throws: HostAddresses.Failure.self) { try HostAddresses.find("no such name.invalid").get() }
    }
}
