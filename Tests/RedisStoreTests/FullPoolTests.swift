import ChatCore
import FullWorkPool
import RedisStore
import Testing

/// What goes to the pool for long computation, and what comes of it while that is full.
@Suite(.timeLimit(.minutes(2))) struct FullPoolTests {
    @Test func aLongLogIsReadThere() async throws {
        try await withPool { pool in
            let full = await FullPool()
            let (plain, log) = (TurnLog(pool: pool), TurnLog(pool: pool, work: full.pool))
            let turn = Turn.sample()
            guard case .acquired(let lease, _) = try await log.acquire(turn, owner: "o", redelivered: false) else {
                Issue.record("no lease")
                return
            }
            _ = try await log.append(lease, first: 0, tokens: [.init(id: 0, text: "t")])
            #expect(try await log.events(of: turn.id, from: 0)?.count == 1)
            let long = String(repeating: "t", count: FullPool.large / 1000)
            _ = try await log.append(lease, first: 1, tokens: (1...1000).map { .init(id: $0, text: long) })
            await #expect(throws: RedisError.overloaded) { try await log.events(of: turn.id, from: 0) }
            await #expect(throws: RedisError.overloaded) { try await log.acquire(turn, owner: "p", redelivered: true) }
            // It was taken all the same, as when a reply is lost.
            #expect(try await plain.acquire(turn, owner: "q", redelivered: false) == .held(owner: "p"))
            await full.letGo()
            #expect(try await log.events(of: turn.id, from: 0)?.count == 1001)
            guard case .acquired(_, let progress) = try await log.acquire(turn, owner: "p", redelivered: true) else {
                Issue.record("no lease")
                return
            }
            #expect(progress.tokens.count == 1001)
        }
    }

    @Test func aLongHistoryIsPackedAndUnpackedThere() async throws {
        try await withPool { pool in
            let full = await FullPool()
            let (plain, contexts) = (ContextCache(pool: pool), ContextCache(pool: pool, work: full.pool))
            func entry(_ turn: Turn, bytes: Int) -> ContextCache.Entry {
                var (text, state) = ("", UInt32(1))
                // Deflate makes little of it: a reply of so many bytes.
                while text.utf8.count < bytes {
                    state = state &* 1_664_525 &+ 1_013_904_223
                    text += String(state, radix: 36)
                }
                return .init(turn: turn.id, system: nil, message: text, response: "r")
            }
            let (short, long) = (Turn.sample(), Turn.sample())
            try await contexts.append(short.conversation, entry: entry(short, bytes: 100), beginsConversation: true)
            #expect(try await contexts.load(short.conversation)?.entries.count == 1)
            let large = entry(long, bytes: FullPool.large)
            await #expect(throws: RedisError.overloaded) {
                try await contexts.append(long.conversation, entry: large, beginsConversation: true)
            }
            try await plain.append(long.conversation, entry: large, beginsConversation: true)
            await #expect(throws: RedisError.overloaded) { try await contexts.load(long.conversation) }
            await full.letGo()
            #expect(try await contexts.load(long.conversation)?.entries == [large])
        }
    }
}
