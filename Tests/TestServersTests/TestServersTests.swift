import Foundation
import TestServers
import Testing

@Suite(.serialized) struct TestServersTests {
    @Test func everyAskerGetsTheSameInstance() async throws {
        async let first = TestServers.redis()
        async let second = TestServers.redis()
        let (one, other) = try await (first, second)
        #expect(one.port == other.port)
        #expect(LoopbackProbe.answers(on: one.port))
    }

    @Test func virtualHostsAndDatabasesAreNeverGivenTwice() async throws {
        let broker = try await TestServers.startRabbit(virtualHosts: 1)
        let prepared = try await broker.endpoint.freshVirtualHost()
        let made = try await broker.endpoint.freshVirtualHost()
        #expect(Set([broker.endpoint.uri, prepared.uri, made.uri]).count == 3)
        try await broker.stop()

        let postgres = try await TestServers.postgres()
        #expect(postgres.shards.count == 2)
        let fresh = try await postgres.freshDatabases(count: 2)
        #expect(Set(postgres.shards + fresh).count == 4)
    }

    @Test func aServerKeepsItsPortOverKillAndRestart() async throws {
        let server = try await TestServers.startRedis()
        #expect(LoopbackProbe.answers(on: server.endpoint.port))
        try await server.kill()
        #expect(!LoopbackProbe.answers(on: server.endpoint.port))
        try await server.restart()
        #expect(LoopbackProbe.answers(on: server.endpoint.port))
        try await server.stop()
        #expect(!LoopbackProbe.answers(on: server.endpoint.port))
    }

    @Test func aKilledDatabaseComesBack() async throws {
        let server = try await TestServers.startPostgres(databases: ["only"])
        try await server.kill()
        #expect(!LoopbackProbe.answers(on: server.endpoint.port))
        try await server.restart()
        #expect(LoopbackProbe.answers(on: server.endpoint.port))
        try await server.stop()
    }

    @Test func aPausedServerAcceptsAndSaysNothing() async throws {
        let server = try await TestServers.startRedis()
        let port = server.endpoint.port
        #expect(LoopbackProbe.reply(to: "PING\r\n", on: port)?.hasPrefix("-NOAUTH") == true)
        try await server.pause()
        // Stopped, and not merely slow; the kernel accepts for it.
        #expect(try state(of: server.path) == "T")
        #expect(LoopbackProbe.answers(on: port))
        try await server.resume()
        #expect(LoopbackProbe.reply(to: "PING\r\n", on: port)?.hasPrefix("-NOAUTH") == true)
        try await server.stop()
    }

    /// The letter of /proc/PID/stat.
    private func state(of folder: String) throws -> Substring? {
        let pid = try String(contentsOfFile: "\(folder)/pid", encoding: .utf8).split(separator: " ")[0]
        let line = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        return line.split(separator: ")").last?.split(separator: " ").first
    }
}
