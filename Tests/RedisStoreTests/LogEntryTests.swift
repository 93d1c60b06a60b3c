import ChatCore
import RedisStore
import SeededRandom
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct LogEntryTests {
    /// A real entry, cut short, changed and made up: an error that names a field or events, never a crash.
    @Test func hostileHintsAreRefused() async throws {
        let turn = Turn.sample()
        let good = try await entries(of: turn)
        #expect(good.count == 2)
        var random = SeededGenerator(seed: 42)
        for entry in good {
            _ = try TurnLog.decode(hint: entry)
            for length in 0..<entry.count {
                #expect(throws: WireError.self) { try TurnLog.decode(hint: Array(entry[..<length])) }
            }
            #expect(throws: WireError.self) { try TurnLog.decode(hint: entry + [0]) }
            for _ in 0..<20_000 {
                var changed = entry
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    changed[Int.random(in: 0..<changed.count, using: &random)] = .random(in: 0...255, using: &random)
                }
                _ = try? TurnLog.decode(hint: changed)
            }
        }
        for _ in 0..<20_000 {
            let noise = (0..<Int.random(in: 0...80, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            _ = try? TurnLog.decode(hint: [0xB2] + noise)
        }
    }

    private func entries(of turn: Turn) async throws -> [[UInt8]] {
        try await withPool { pool in
            let log = TurnLog(pool: pool)
            let lease = try #require(try await log.acquire(turn, owner: "o", redelivered: false).lease)
            _ = try await log.append(lease, first: 0, tokens: tokens("a", "é🙂"))
            _ = try await log.end(lease, next: 2, end: turn.end)
            let rows = try await pool.send("XRANGE", "turn:{\(turn.id)}", "-", "+").array ?? []
            return rows.compactMap { $0.array?.last?.array?.last?.data }
        }
    }
}
