import ChatCore
import RedisStore
import SeededRandom
import Testing

/// A conversation's cached history has a bound in bytes, for Redis and for whoever reads it.
@Suite(.timeLimit(.minutes(2))) struct ContextBoundTests {
    private func entries(_ count: Int, text: String, systemOfFirst: String? = nil) -> [ContextCache.Entry] {
        var random = SeededGenerator(seed: 9)
        return (0..<count).map { number in
            ContextCache.Entry(
                turn: TurnID(milliseconds: 1_700_000_000_000 + UInt64(number), using: &random),
                system: number == 0 ? systemOfFirst : nil, message: text, response: "\(number)")
        }
    }

    private func bytes(_ entries: [ContextCache.Entry]) -> Int {
        entries.reduce(0) { $0 + $1.message.utf8.count + $1.response.utf8.count + ($1.system?.utf8.count ?? 0) }
    }

    private func name(_ key: ConversationKey) -> RedisArgument { RedisArgument("context:{\(key.storageName)}") }

    /// Text of which deflate makes a thousandth, and text that it hardly shrinks.
    @Test(arguments: [true, false]) func aConversationOfLargeTurnsIsBoundedInRedisAndForItsReader(
        isCompressible: Bool
    ) async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let key = Turn.sample().conversation
            var random = SeededGenerator(seed: 10)
            let text =
                isCompressible
                ? String(repeating: "a", count: 1_000_000)
                : String(
                    decoding: (0..<1_000_000).map { _ in UInt8.random(in: 48...111, using: &random) }, as: UTF8.self)
            let entries = entries(isCompressible ? 256 : 12, text: text, systemOfFirst: "s")
            for entry in entries {
                try await cache.append(key, entry: entry, beginsConversation: entry == entries.first)
            }
            let loaded = try #require(try await cache.load(key))
            #expect(bytes(loaded.entries) <= ContextCache.maximumBytes)
            #expect(loaded.entries.dropFirst() == entries.suffix(loaded.entries.count).dropFirst())
            #expect(loaded.entries.count >= 3 && loaded.complete)
            #expect(loaded.entries.first?.system == "s")
            let usage = try await pool.send("MEMORY", "USAGE", name(key), "SAMPLES", 0).int ?? .max
            #expect(usage <= ContextCache.maximumBytes * 5 / 4)
            // The same from the shard, in one piece.
            try await cache.fill(key, entries: entries)
            #expect(try await cache.load(key)?.entries == loaded.entries)
            try await cache.remove(key)
            try await cache.fill(key, entries: entries)
            #expect(try await cache.load(key)?.entries == loaded.entries)
        }
    }

    @Test func aReaderGetsTheNewestThatItsOwnBoundAllows() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let key = Turn.sample().conversation
            let entries = entries(5, text: String(repeating: "b", count: 1000), systemOfFirst: "s")
            for entry in entries {
                try await cache.append(key, entry: entry, beginsConversation: entry == entries.first)
            }
            let cut = try #require(try await cache.load(key, maximumBytes: 2500))
            #expect(cut.entries.suffix(2) == entries.suffix(2))
            // The first that does not fit is known, and carries what is in force.
            let rest = ContextCache.Entry(turn: entries[2].turn, system: "s", message: "", response: "")
            #expect(cut.entries.count == 3 && cut.entries.first == rest && cut.complete)
            let none = try #require(try await cache.load(key, maximumBytes: 0))
            #expect(none.entries.map(\.turn) == [entries[4].turn] && none.complete)
            #expect(try await cache.load(key)?.entries == entries)
        }
    }

    @Test func aTurnTooLargeForEveryPromptIsKnownAndHidesWhatIsBefore() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let key = Turn.sample().conversation
            var entries = entries(4, text: "m", systemOfFirst: "s")
            entries[2] = ContextCache.Entry(
                turn: entries[2].turn, system: nil,
                message: String(repeating: "c", count: ContextCache.maximumBytes), response: "r")
            for entry in entries.prefix(3) {
                try await cache.append(key, entry: entry, beginsConversation: entry == entries.first)
            }
            let loaded = try #require(try await cache.load(key))
            #expect(loaded.entries == [.init(turn: entries[2].turn, system: "s", message: "", response: "")])
            #expect(loaded.complete)
            try await cache.append(key, entry: entries[3], beginsConversation: false)
            #expect(try await cache.load(key)?.entries.map(\.message) == ["m"])
            #expect(try await cache.load(key)?.entries.map(\.system) == ["s"])
            // What the bound has driven out does not come back before newer turns that are gone.
            try await cache.append(key, entry: entries[1], beginsConversation: false)
            #expect(try await cache.load(key)?.entries.map(\.turn) == [entries[3].turn])
            #expect(try await cache.load(key)?.complete == true)
        }
    }

    @Test func aHashOfTheFormWithoutABoundIsNotReadAndThenReplaced() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let key = Turn.sample().conversation
            let entries = entries(6, text: String(repeating: "d", count: 1_000_000))
            try await cache.append(key, entry: entries[0], beginsConversation: true)
            let value = try await pool.send("HGET", name(key), entries[0].field).data ?? []
            _ = try await pool.send("DEL", name(key))
            for entry in entries {
                _ = try await pool.send("HSET", name(key), RedisArgument(entry.turn.description), .bytes(value))
            }
            _ = try await pool.send("HSET", name(key), "complete", 1)
            let loaded = try #require(try await cache.load(key))
            #expect(loaded.entries.isEmpty && !loaded.complete)
            let newest = ContextCache.Entry(turn: entries[5].turn, system: nil, message: "m", response: "r")
            try await cache.append(key, entry: newest, beginsConversation: false)
            #expect(try await cache.load(key)?.entries == [newest])
            #expect(try await cache.load(key)?.complete == false)
        }
    }
}
