import ChatCore
import Foundation
import RedisStore
import TestServers
import Testing

/// Figures, not checks: `SWITCHBOARD_FIGURES=1 swift test -c release --filter LatencyFigures`.
@Suite(
    .enabled(
        if: ProcessInfo.processInfo.environment["SWITCHBOARD_FIGURES"] != nil,
        "figures, printed when SWITCHBOARD_FIGURES is set"))
struct LatencyFigures {
    @Test func roundTrips() async throws {
        let server = try await TestServers.startRedis(persistent: false)
        try await withPool(RedisConfiguration(server.endpoint)) { pool in
            let log = TurnLog(pool: pool)
            try await measure("PING", 5000) { _ in try await pool.ping() }
            let turn = Turn.sample()
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            _ = try await log.follow(turn.id, reader: "g", from: 0)
            try await measure("append of 1 token, 1 reader", 5000) { index in
                _ = try await log.append(lease, first: index, tokens: [.init(id: 1, text: " word")])
            }
            try await throughput(pool, log)
            let stats = try await pool.send("INFO", "commandstats").text ?? ""
            for line in stats.split(separator: "\r\n") where line.contains("evalsha") { print("  server: \(line)") }
        }
        try await server.stop()
    }

    private func measure(_ name: String, _ count: Int, _ operation: (Int) async throws -> Void) async throws {
        var times: [Duration] = []
        for index in 0..<count {
            let start = ContinuousClock.now
            try await operation(index)
            times.append(.now - start)
        }
        times.sort()
        print(
            "  \(name): median \(times[count / 2] / .microseconds(1)) µs, p99 \(times[count * 99 / 100] / .microseconds(1)) µs"
        )
    }

    private func throughput(_ pool: RedisPool, _ log: TurnLog) async throws {
        let (turns, appends) = (64, 300)
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<turns {
                group.addTask {
                    let lease = try #require(try await log.acquire(.sample(), owner: "o", redelivered: false).lease)
                    for index in 0..<appends {
                        _ = try await log.append(lease, first: index, tokens: [.init(id: 1, text: " word")])
                    }
                }
            }
            try await group.waitForAll()
        }
        let elapsed: Duration = .now - start
        print("  \(turns) turns at once: \(Int(Double(turns * appends) / (elapsed / .seconds(1)))) appends/s")
    }
}
