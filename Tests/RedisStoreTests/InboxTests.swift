import Foundation
import RedisStore
import TestServers
import Testing

@Suite struct InboxTests {
    @Test func readsFromTheEndAndTrimsWhatItRead() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        let configuration = RedisConfiguration(server.endpoint)
        try await withPool(configuration) { pool in
            let received = Collector<[UInt8]>()
            let reader = InboxReader(configuration: configuration, orchestrator: "o", logger: quiet) { batch in
                for payload in batch { received.add(payload) }
            }
            try await Inbox.write(pool, orchestrator: "o", payload: [1])
            try await running(reader) {
                try await untilReading(pool)
                for number in 2...100 {
                    try await Inbox.write(pool, orchestrator: "o", payload: [UInt8(number), 0, 13])
                }
                try await eventually("everything after the end") { received.all.count == 99 }
                #expect(received.all.first == [2, 0, 13])
                #expect(received.all.last == [100, 0, 13])
                try await eventually("trimmed") { try await pool.send("XLEN", "inbox:{o}").int == 0 }
                #expect(try await pool.send("PTTL", "inbox:{o}").int ?? 0 > 0)
            }
        }
        try await server.stop()
    }

    @Test func goesOnAfterALossOfAllDataAndAfterARestart() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        let configuration = RedisConfiguration(server.endpoint)
        try await withPool(configuration) { pool in
            let received = Collector<[UInt8]>()
            let reader = InboxReader(configuration: configuration, orchestrator: "o", logger: quiet) { batch in
                for payload in batch { received.add(payload) }
            }
            try await running(reader) {
                try await untilReading(pool)
                try await Inbox.write(pool, orchestrator: "o", payload: [1])
                try await eventually("the first") { received.all == [[1]] }
                _ = try await pool.send("FLUSHALL")
                try await Inbox.write(pool, orchestrator: "o", payload: [2])
                try await eventually("the second") { received.all == [[1], [2]] }
                // A stream of a server whose clock is behind: its ids are below ours.
                _ = try await pool.send("DEL", "inbox:{o}")
                _ = try await pool.send("XADD", "inbox:{o}", "5-1", "p", .bytes([3]))
                _ = try await pool.send("EXPIRE", "inbox:{o}", "60")
                try await eventually("the third") { received.all == [[1], [2], [3]] }
                try await server.kill()
                try await server.restart()
                try await pool.waitUntilConnected()
                try await eventually("the fourth") {
                    // The pool may still be about to notice: a write in that moment fails, and is not repeated here.
                    if received.all.last == [4] { return true }
                    do { try await Inbox.write(pool, orchestrator: "o", payload: [4]) } catch {}
                    return false
                }
                #expect(received.all.prefix(3) == [[1], [2], [3]])
            }
        }
        try await server.stop()
    }

    private func untilReading(_ pool: RedisPool) async throws {
        try await eventually("the reader waits at the server") {
            try await pool.send("INFO", "clients").text?.contains("blocked_clients:1") == true
        }
    }
}
