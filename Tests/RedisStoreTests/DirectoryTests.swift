import ChatCore
import Foundation
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct DirectoryTests {
    @Test func announcedNodesAreListedUntilTheyExpireOrLeave() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let directory = NodeDirectory(pool: pool)
            #expect(try await directory.nodes() == [])
            try await directory.announce(.sample("b", running: 1), ttl: .seconds(600))
            try await directory.announce(.sample("a", running: 0), ttl: .seconds(600))
            try await directory.announce(.sample("b", running: 2), ttl: .seconds(600))
            try await directory.announce(.sample("brief", running: 2), ttl: .milliseconds(1))
            try await eventually("the brief one is gone") {
                try await directory.nodes() == [.sample("a", running: 0), .sample("b", running: 2)]
            }
            #expect(try await pool.send("EXISTS", "node:{a}", "node:{b}").int == 2)
            try await directory.withdraw("a")
            #expect(try await directory.nodes() == [.sample("b", running: 2)])
            #expect(try await pool.send("EXISTS", "node:{a}").int == 0)
            _ = try await pool.send("HSET", "{nodes}:announcements", "b", "not JSON")
            #expect(try await directory.nodes() == [])
        }
        try await server.stop()
    }

    @Test func loadsAreListedUntilTheyExpireOrLeave() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let directory = LoadDirectory(pool: pool)
            var busy = OrchestratorLoad(id: "b", running: ByKind(stream: 3, chat: 2, batch: 1), places: 8)
            busy.waiting.chat = .init([.init(tenant: "t", turns: 5, users: 2)])
            busy.serviceSeconds.stream = 1.5
            try await directory.announce(busy, ttl: .seconds(600))
            try await directory.announce(OrchestratorLoad(id: "a"), ttl: .seconds(600))
            try await directory.announce(OrchestratorLoad(id: "brief"), ttl: .milliseconds(1))
            try await eventually("the brief one is gone") {
                try await directory.loads() == [OrchestratorLoad(id: "a"), busy]
            }
            try await directory.withdraw("a")
            _ = try await pool.send("HSET", "{load}:announcements", "hostile", "{\"id\":7}")
            #expect(try await directory.loads() == [busy])
        }
        try await server.stop()
    }

    @Test func presenceExpires() async throws {
        try await withPool { pool in
            let presence = Presence(pool: pool)
            let kind = "kind-\(UUID())"
            #expect(try await !presence.isAlive(kind: kind, id: "a"))
            try await presence.beat(kind: kind, id: "b", ttl: .seconds(600))
            try await presence.beat(kind: kind, id: "a", ttl: .seconds(600))
            try await presence.beat(kind: kind, id: "brief", ttl: .milliseconds(1))
            try await eventually("the brief one is gone") { try await presence.alive(kind: kind) == ["a", "b"] }
            #expect(try await !presence.isAlive(kind: kind, id: "brief"))
            #expect(try await presence.isAlive(kind: kind, id: "a"))
            try await presence.leave(kind: kind, id: "a")
            #expect(try await presence.alive(kind: kind) == ["b"])
        }
    }

    @Test func markersExpire() async throws {
        try await withPool { pool in
            let markers = Markers(pool: pool)
            let name = UUID().uuidString
            #expect(try await !markers.exists(name))
            try await markers.set(name, ttl: .seconds(60))
            #expect(try await markers.exists(name))
            try await markers.set(name, ttl: .milliseconds(1))
            try await eventually("expired") { try await !markers.exists(name) }
        }
    }
}

extension NodeAnnouncement {
    static func sample(_ id: String, running: Int) -> NodeAnnouncement {
        NodeAnnouncement(
            id: id, model: "m", numericsID: "x", queue: "node.\(id)", contextLength: 2048, maximumSequences: 8,
            running: running, waiting: 0, freeBlocks: 10, totalBlocks: 20, tokensPerSecond: 80.5, startedAt: 1)
    }
}
