import ChatCore
import Foundation
import ServiceKit
import TestServers
import Testing

@testable import RedisStore

/// A real Redis that answers and refuses.
@Suite(.timeLimit(.minutes(2))) struct RefusalTests {
    /// Makes a server refuse writes, and take them again.
    enum Refusal: String, CaseIterable, Sendable {
        case noReplicas = "NOREPLICAS"
        case outOfMemory = "OOM"
        case replica = "READONLY"
        case fullDisk = "MISCONF"

        func begin(_ admin: RedisPool) async throws {
            switch self {
            case .noReplicas: _ = try await admin.send("CONFIG", "SET", "min-replicas-to-write", "1")
            case .outOfMemory: _ = try await admin.send("CONFIG", "SET", "maxmemory", "1")
            case .replica: _ = try await admin.send("REPLICAOF", "127.0.0.1", "1")
            case .fullDisk:
                // Its folder is gone: no snapshot can be written.
                let folder = try await admin.send("CONFIG", "GET", "dir").array?.last?.text
                try FileManager.default.removeItem(atPath: try #require(folder))
                _ = try await admin.send("CONFIG", "SET", "save", "1000 1000")
                _ = try await admin.send("BGSAVE")
                try await eventually("the snapshot failed") {
                    try await admin.send("INFO", "persistence").text?.contains("rdb_last_bgsave_status:err") == true
                }
            }
        }

        func end(_ admin: RedisPool) async throws {
            switch self {
            case .noReplicas: _ = try await admin.send("CONFIG", "SET", "min-replicas-to-write", "0")
            case .outOfMemory: _ = try await admin.send("CONFIG", "SET", "maxmemory", "0")
            case .replica: _ = try await admin.send("REPLICAOF", "NO", "ONE")
            case .fullDisk: _ = try await admin.send("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
            }
        }
    }

    private func entry(_ turn: Turn) -> ContextCache.Entry {
        ContextCache.Entry(turn: turn.id, system: nil, message: "Hello", response: "Hi")
    }

    @Test(arguments: Refusal.allCases) func readsGoOnWhileWritesAreRefused(refusal: Refusal) async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { admin in
            try await withPool(RedisConfiguration(server.endpoint)) { pool in
                let log = TurnLog(pool: pool)
                let contexts = ContextCache(pool: pool)
                let presence = Presence(pool: pool)
                let turn = Turn.sample()
                let lease = try #require(try await log.acquire(turn, owner: "me", redelivered: false).lease)
                _ = try await log.append(lease, first: 0, tokens: tokens("a", "b"))
                try await contexts.append(turn.conversation, entry: entry(turn), beginsConversation: true)
                try await presence.beat(kind: "kind", id: "me", ttl: .milliseconds(1))
                let before = try await GenerationMark(pool: pool).keptSince()

                try await refusal.begin(admin)
                let appended = await failure { () throws(RedisError) in
                    _ = try await log.append(lease, first: 2, tokens: tokens("c"))
                }
                guard case .server(let words) = appended else { throw TestFailure("\(appended as Any)") }
                #expect(words.hasPrefix(refusal.rawValue))
                #expect(appended?.refusal?.kind == .outageOfWrites && appended?.isPassing == true)
                // A look may not say that nobody reads where nobody can register.
                let looked = await failure { () throws(RedisError) in
                    _ = try await log.append(lease, first: 2, tokens: [])
                }
                #expect(looked?.refusal?.kind == .outageOfWrites)

                // Before the breaker opens, and while it is open.
                for isOpen in [false, true] {
                    if isOpen {
                        try await eventually("it opens without callers") { pool.writes.state == .open }
                    }
                    #expect(try await log.record(of: turn.id)?.next == 2)
                    let (events, exists) = try await log.follow(turn.id, reader: "gateway", from: 0)
                    #expect(exists && events == [.token(index: 0, text: "a"), .token(index: 1, text: "b")])
                    #expect(try await log.events(of: turn.id, from: 1) == [.token(index: 1, text: "b")])
                    #expect(try await contexts.load(turn.conversation)?.entries == [entry(turn)])
                    #expect(try await contexts.exists(turn.conversation))
                    #expect(try await GenerationMark(pool: pool).keptSince() == before)
                    #expect(try await pool.send("PUBLISH", "nobody", "x").int == 0)
                    try await pool.ping()
                    #expect(pool.breaker.state == .closed)
                }
                // New connections are as good as old ones.
                try await withPool(RedisConfiguration(server.endpoint)) { late in
                    let found = try await late.send("EXISTS", "x").int
                    #expect(found == 0)
                }
                #expect(pool.writes.lastFailure.hasPrefix(refusal.rawValue))
                // Beats are refused, or, for want of memory, taken: a beat that is over says nothing of its sender then.
                if refusal != .outOfMemory {
                    await #expect(throws: RedisError.self) { try await presence.isAlive(kind: "kind", id: "me") }
                    await #expect(throws: RedisError.self) { try await presence.alive(kind: "kind") }
                }

                try await refusal.end(admin)
                try await eventually("it closes without callers") { pool.writes.state == .closed }
                let after = try await log.append(lease, first: 2, tokens: tokens("c"))
                guard case .appended = after else { throw TestFailure("\(after)") }
                _ = try await log.follow(turn.id, reader: "gateway", from: 0)
                #expect(try await log.presence(of: turn.id)?.readers == 1)
            }
        }
        try await server.stop()
    }

    /// The living are seen, and what is not needed goes, also without memory.
    @Test func aServerWithoutMemoryTakesBeatsAndWhatFrees() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let presence = Presence(pool: pool)
            let nodes = LoadDirectory(pool: pool)
            let log = TurnLog(pool: pool)
            let turn = Turn.sample()
            _ = try await log.reserve(turn)
            try await Refusal.outOfMemory.begin(pool)
            try await eventually("its breaker is open") { pool.writes.state == .open }
            #expect(try await log.forget(turn.id))
            try await presence.beat(kind: "kind", id: "me", ttl: .seconds(60))
            try await nodes.announce(OrchestratorLoad(id: "me"), ttl: .seconds(60))
            try await Refusal.outOfMemory.end(pool)
            #expect(try await presence.alive(kind: "kind") == ["me"])
            #expect(try await nodes.loads().map(\.id) == ["me"])
        }
        try await server.stop()
    }

    /// A server that answers nobody opens the breaker of all.
    @Test func aReplicaWithoutItsMasterIsAway() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            _ = try await pool.send("CONFIG", "SET", "replica-serve-stale-data", "no")
            _ = try await pool.send("REPLICAOF", "127.0.0.1", "1")
            let error = await failure { () throws(RedisError) in _ = try await pool.send("GET", "x") }
            #expect(error?.refusal?.kind == .outage)
            try await eventually("the breaker opens") {
                _ = await failure { () throws(RedisError) in _ = try await pool.send("GET", "x") }
                return pool.breaker.state == .open
            }
            #expect(pool.breaker.lastFailure.hasPrefix("MASTERDOWN"))
            // The breaker refuses all: it is the server's own tool that makes it well again.
            try await promote(server.endpoint)
            try await eventually("it is found again") {
                await failure { () throws(RedisError) in _ = try await pool.send("SET", "x", "1") } == nil
            }
        }
        try await server.stop()
    }

    private func promote(_ endpoint: RedisEndpoint) async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["redis-cli", "-p", "\(endpoint.port)", "REPLICAOF", "NO", "ONE"]
        process.environment = ["PATH": "/usr/bin:/bin:/usr/local/bin", "REDISCLI_AUTH": endpoint.password]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        try await eventually("redis-cli is through") { !process.isRunning }
    }

    @Test func aServerThatRunsALongScriptIsBusy() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            _ = try await pool.send("CONFIG", "SET", "busy-reply-threshold", "20")
            let script = Task {
                await failure { () throws(RedisError) in _ = try await pool.send("EVAL", "while true do end", "0") }
            }
            try await eventually("it is busy") {
                let error = await failure { () throws(RedisError) in _ = try await pool.send("GET", "x") }
                return error?.refusal == RedisRefusal("BUSY Redis is busy") && error?.isPassing == true
            }
            try await eventually("it is killed") {
                await failure { () throws(RedisError) in _ = try await pool.send("SCRIPT", "KILL") } == nil
            }
            #expect(await script.value?.refusal?.kind == .outage)
            try await eventually("well again") {
                await failure { () throws(RedisError) in _ = try await pool.send("SET", "x", "1") } == nil
            }
        }
        try await server.stop()
    }

    @Test func aServerThatReadsItsDataIsAwayUntilItHasThem() async throws {
        let master = try await TestServers.startRedis(persistent: false)
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(master.endpoint)) { pool in
            _ = try await pool.send("CONFIG", "SET", "repl-diskless-sync-delay", "0")
            for start in stride(from: 0, to: 3000, by: 100) {
                let commands = (start..<start + 100).map { number -> (String, [RedisArgument]) in
                    ("SET", [.text("key:\(number)"), .text(String(repeating: "x", count: 200))])
                }
                _ = try await pool.pipeline(commands)
            }
        }
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            _ = try await pool.send("CONFIG", "SET", "key-load-delay", "500")
            _ = try await pool.send("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
            _ = try await pool.send("CONFIG", "SET", "masterauth", .text(master.endpoint.password))
            _ = try await pool.send("CONFIG", "SET", "replica-read-only", "no")
            _ = try await pool.send("REPLICAOF", .text(master.endpoint.host), .text("\(master.endpoint.port)"))
            try await eventually("it loads") {
                let error = await failure { () throws(RedisError) in _ = try await pool.send("GET", "key:1") }
                return error?.refusal == RedisRefusal("LOADING Redis is loading") && error?.isPassing == true
            }
            try await eventually("it has them") {
                guard
                    await failure(of: { () throws(RedisError) in _ = try await pool.send("SET", "own", "1") }) == nil
                else { return false }
                return try await pool.send("GET", "key:2999").data?.count == 200
            }
        }
        try await server.stop()
        try await master.stop()
    }

    // MARK: Credentials

    @Test func aPasswordThatWasChangedIsSaid() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { admin in
            try await withPool(RedisConfiguration(server.endpoint)) { pool in
                #expect(Probes.admits(pool)() == nil)
                _ = try await admin.send("CONFIG", "SET", "requirepass", "another")
                // Connections that stand stay; new ones are refused.
                _ = try await admin.send("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                try await eventually("it is not ready, and says why") {
                    Probes.admits(pool)()?.contains("WRONGPASS") == true && !pool.isConnected
                }
                _ = try await admin.send("CONFIG", "SET", "requirepass", .text(server.endpoint.password))
                try await eventually("it is let in again") {
                    await failure { () throws(RedisError) in try await pool.ping() } == nil
                }
            }
        }
        try await server.stop()
    }

    @Test func aRightThatWasTakenIsSaidAndNothingIsRefusedForGood() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            _ = try await pool.send("ACL", "SETUSER", "default", "-set")
            let error = await failure { () throws(RedisError) in _ = try await pool.send("SET", "x", "1") }
            #expect(error?.refusal?.kind == .credentials && error?.isPassing == true)
            #expect(Probes.admits(pool)()?.contains("NOPERM") == true)
            _ = try await pool.send("ACL", "SETUSER", "default", "+set")
            _ = try await pool.send("SET", "x", "1")
        }
        try await server.stop()
    }
}
