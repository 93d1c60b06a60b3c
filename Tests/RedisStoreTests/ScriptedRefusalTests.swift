import Logging
import Testing

@testable import RedisStore

/// A peer that says what Debian's Redis cannot be made to say here.
@Suite(.timeLimit(.minutes(2))) struct ScriptedRefusalTests {
    private func withScripted(
        poolSize: Int = 1, logger: Logger = quiet, _ script: @escaping ScriptedRedis.Script,
        _ body: (RedisPool) async throws -> Void
    ) async throws {
        let server = try ScriptedRedis(script)
        defer { server.stop() }
        let pool = RedisPool(
            configuration: RedisConfiguration(port: server.port, poolSize: poolSize), logger: logger)
        try await running(pool) {
            try await pool.waitUntilConnected()
            try await body(pool)
        }
    }

    @Test(arguments: [
        "CLUSTERDOWN The cluster is down", "TRYAGAIN Multiple keys", "MOVED 1 127.0.0.1:1", "NOVEL words",
    ])
    func aServerThatRefusesEverythingIsAway(words: String) async throws {
        let lines = LogCollector()
        let refuses = Flag(true)
        try await withScripted(logger: lines.logger) { _, command in
            switch command[0] {
            case "CLIENT": "+OK\r\n"
            case "PING": "+PONG\r\n"
            default: refuses.isSet ? "-\(words)\r\n" : "+OK\r\n"
            }
        } _: { pool in
            try await eventually("the breaker opens") {
                let error = await failure { () throws(RedisError) in _ = try await pool.send("GET", "x") }
                #expect(error?.isPassing == true)
                return pool.breaker.state != .closed
            }
            #expect(lines.all.contains { $0.contains("NOVEL words") } == words.hasPrefix("NOVEL"))
            refuses.isSet = false
            try await eventually("it is back") {
                await failure { () throws(RedisError) in _ = try await pool.send("SET", "x", "1") } == nil
            }
        }
    }

    /// After a failover the address leads to the new master, and old connections to what is a replica now.
    @Test func connectionsToAReplicaAreMadeAnew() async throws {
        let isDemoted = Flag(false)
        try await withScripted(poolSize: 2) { connection, command in
            switch command[0] {
            case "CLIENT": "+OK\r\n"
            case "PING": "+PONG\r\n"
            case "SET":
                connection <= 2 && isDemoted.isSet
                    ? "-READONLY You can't write against a read only replica.\r\n" : "+OK\r\n"
            default: "$-1\r\n"
            }
        } _: { pool in
            try await eventually("connected twice") { pool.isFullyConnected }
            isDemoted.isSet = true
            try await eventually("writes are taken again, on every connection") {
                // Reads never stop: the last connection stays.
                _ = try await pool.send("GET", "x")
                for _ in 0..<8 {
                    let error = await failure { () throws(RedisError) in _ = try await pool.send("SET", "x", "1") }
                    guard error == nil else { return false }
                }
                return pool.writes.state == .closed
            }
        }
    }
}

/// What was logged, a line each.
private final class LogCollector: Sendable {
    private let lines = Collector<String>()
    var all: [String] { lines.all }
    var logger: Logger { Logger(label: "test") { [lines] _ in Handler(lines: lines) } }

    private struct Handler: LogHandler {
        let lines: Collector<String>
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.add("\(event.message) \(event.metadata ?? [:])") }
    }
}
