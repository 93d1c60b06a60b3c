import ChatCore
import RedisStore
import SeededRandom
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct ConversationTests {
    @Test func headIsTheFirstAccepted() async throws {
        let configuration = RedisConfiguration(try await TestServers.redis())
        let events = Collector<RedisSubscriber.Event>()
        let subscriber = RedisSubscriber(
            configuration: configuration, channels: [ConversationOrder.channel], logger: quiet
        ) { events.add($0) }
        try await running(subscriber) {
            try await withPool { pool in
                try await eventually("subscribed") { events.all == [.connected] }
                let order = ConversationOrder(pool: pool)
                let first = Turn.sample()
                let key = first.conversation
                let later = Turn.sample(conversation: key, acceptedAt: first.acceptedAt + 1)
                #expect(try await !order.exists(key))
                #expect(try await order.head(of: key) == nil)
                try await order.add(later)
                #expect(try await order.join(first).predecessor == nil)
                #expect(try await order.join(later).predecessor == first.id)
                try await order.add(first)
                #expect(try await order.head(of: key) == first.id)
                #expect(try await order.exists(key))
                try await order.remove(first.id, of: key)
                #expect(try await order.head(of: key) == later.id)
                let told = Array(later.id.description.utf8)
                try await eventually("the new head is told") {
                    events.all.contains(.message(channel: ConversationOrder.channel, payload: told))
                }
                try await order.remove(later.id, of: key)
                try await order.remove(later.id, of: key)
                #expect(try await !order.exists(key))
            }
        }
    }

    @Test func abandonedHeadFallsOutAfterItsDeadline() async throws {
        try await withPool { pool in
            let order = ConversationOrder(pool: pool)
            let dead = Turn.sample(acceptedAt: 1_700_000_000_000, lifetime: 1000)
            let alive = Turn.sample(conversation: dead.conversation)
            try await order.add(alive)
            try await order.add(dead)
            #expect(try await order.head(of: dead.conversation) == alive.id)
        }
    }

    @Test func contextIsIdempotentAndSorted() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let turns = [Turn.sample(), Turn.sample(), Turn.sample()].sorted { $0.id < $1.id }
            let key = turns[0].conversation
            #expect(try await cache.load(key) == nil)
            let entries = turns.map {
                ContextCache.Entry(turn: $0.id, system: nil, message: "m \($0.id) é🙂", response: "r")
            }
            try await cache.append(key, entry: entries[2], beginsConversation: false)
            #expect(try await cache.load(key)?.complete == false)
            try await cache.append(key, entry: entries[0], beginsConversation: true)
            let other = ContextCache.Entry(turn: turns[0].id, system: "s", message: "changed", response: "x")
            try await cache.append(key, entry: other, beginsConversation: false)
            try await cache.append(key, entry: entries[1], beginsConversation: false)
            let loaded = try #require(try await cache.load(key))
            #expect(loaded.entries == entries)
            #expect(loaded.complete)
            #expect(try await cache.exists(key))
            try await cache.remove(key)
            #expect(try await !cache.exists(key))
            try await cache.fill(key, entries: Array(entries.reversed()))
            let filled = try #require(try await cache.load(key))
            #expect(filled.entries == entries)
            #expect(filled.complete)
            // A conversation without an ended turn is known to have none.
            try await cache.remove(key)
            try await cache.fill(key, entries: [])
            #expect(try await cache.load(key)?.complete == true)
        }
    }

    @Test func contextIsCompressedAndBounded() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let key = Turn.sample().conversation
            let text = String(repeating: "all work and no play makes Jack a dull boy ", count: 100)
            var random = SeededGenerator(seed: 7)
            let entries = (0..<300).map { number in
                ContextCache.Entry(
                    turn: TurnID(milliseconds: 1_700_000_000_000 + UInt64(number), using: &random), system: nil,
                    message: text, response: "\(number)")
            }
            try await cache.append(key, entry: entries[0], beginsConversation: true)
            let field = RedisArgument(entries[0].turn.description)
            let size = try await pool.send("HSTRLEN", "context:{\(key.storageName)}", field).int ?? 0
            #expect(size > 0 && size < 2000)
            for entry in entries.dropFirst() { try await cache.append(key, entry: entry, beginsConversation: false) }
            let loaded = try #require(try await cache.load(key))
            #expect(loaded.entries == Array(entries.suffix(ContextCache.maximumTurns)))
            #expect(loaded.complete)
        }
    }

    @Test func theSystemMessageOutlivesTheTurnThatBroughtIt() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let key = Turn.sample().conversation
            var random = SeededGenerator(seed: 8)
            func entry(_ number: UInt64, system: String? = nil) -> ContextCache.Entry {
                ContextCache.Entry(
                    turn: TurnID(milliseconds: 1_700_000_000_000 + number, using: &random), system: system,
                    message: "m", response: "r")
            }
            try await cache.append(key, entry: entry(1, system: "newer"), beginsConversation: true)
            // Settled late, and older: it does not count against the newer one.
            try await cache.append(key, entry: entry(0, system: "older"), beginsConversation: false)
            for number in 2..<(ContextCache.maximumTurns + 3) {
                try await cache.append(key, entry: entry(UInt64(number)), beginsConversation: false)
            }
            let loaded = try #require(try await cache.load(key))
            #expect(loaded.entries.count == ContextCache.maximumTurns)
            #expect(
                loaded.entries.map(\.system) == ["newer"] + Array(repeating: nil, count: ContextCache.maximumTurns - 1))
            #expect(loaded.complete)
        }
    }

    @Test func unreadableEntryMakesTheContextIncomplete() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let turn = Turn.sample()
            let name = RedisArgument("context:{\(turn.conversation.storageName)}")
            let entry = ContextCache.Entry(turn: turn.id, system: nil, message: "m", response: "r")
            let field = RedisArgument(turn.id.description)
            // Nothing, a size that lies, a size beyond every bound, and no deflate at all.
            let hostile: [[UInt8]] = [[], [1, 0, 0, 0], [255, 255, 255, 255, 120, 1], [4, 0, 0, 0, 1, 2, 3, 4]]
            for bytes in hostile {
                try await cache.append(turn.conversation, entry: entry, beginsConversation: true)
                _ = try await pool.send("HSET", name, field, .bytes(bytes))
                let loaded = try #require(try await cache.load(turn.conversation))
                #expect(loaded.entries.isEmpty)
                #expect(!loaded.complete)
                try await cache.fill(turn.conversation, entries: [entry])
                #expect(try await cache.load(turn.conversation)?.entries == [entry])
                #expect(try await cache.load(turn.conversation)?.complete == true)
            }
        }
    }
}
