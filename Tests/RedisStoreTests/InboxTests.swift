import Foundation
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct InboxTests {
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

    /// For a reader that lags, or is gone.
    @Test func largeEntriesAreBoundedByTheirBytes() async throws {
        try await withPool { pool in
            func write(_ orchestrator: String, _ payload: [UInt8]) async throws {
                try await Inbox.write(pool, orchestrator: orchestrator, payload: payload, maximumBytes: 1 << 20)
            }
            func length(_ orchestrator: String) async throws -> Int64? {
                try await pool.send("XLEN", .text("inbox:{\(orchestrator)}")).int
            }
            let (large, small) = ("large-\(UUID())", "small-\(UUID())")
            for number in 0..<40 {
                try await write(large, [UInt8](repeating: UInt8(number), count: 100_000))
                let taken = try await pool.send("MEMORY", "USAGE", .text("inbox:{\(large)}"), "SAMPLES", "0").int
                #expect(try #require(taken) <= 1 << 20)
            }
            #expect(try #require(try await length(large)) >= 4)
            let newest = try await pool.send("XREVRANGE", .text("inbox:{\(large)}"), "+", "-", "COUNT", "1")
            #expect(newest.array?.first?.array?.last?.array?.last?.data?.first == 39)
            // Many that are small, and many of a middle size.
            for _ in 0..<400 { try await write(small, [7]) }
            #expect(try await length(small) == 400)
            for _ in 0..<400 { try await write(small, [UInt8](repeating: 8, count: 3000)) }
            let taken = try await pool.send("MEMORY", "USAGE", .text("inbox:{\(small)}"), "SAMPLES", "0").int
            #expect(try #require(taken) <= 1 << 20)
            #expect(try #require(try await length(small)) > 100)
        }
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
