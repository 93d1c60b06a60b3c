import ChatCore
import RedisStore
import SeededRandom
import TestServers
import Testing

@Suite(.timeLimit(.minutes(2))) struct ConversationTests {
    @Test func headIsTheFirstThatJoined() async throws {
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
                // Whatever the clock of the gateway said that accepted it.
                let later = Turn.sample(
                    conversation: key, acceptedAt: first.acceptedAt - 5000, beginsConversation: false)
                #expect(try await !order.exists(key))
                #expect(try await order.head(of: key) == nil)
                let place = try #require(try await order.join(first))
                #expect(place.predecessor == nil && place.head == first.id)
                let next = try #require(try await order.join(later))
                #expect(next.predecessor == first.id && next.head == first.id && next.sequence > place.sequence)
                // A repeat stays where it is.
                #expect(try await order.join(first) == place)
                #expect(try await order.join(later) == next)
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

    /// Redis lost the order: holders put their turns back, in whatever sequence they come, and the next one joins behind.
    @Test func turnsGoBackToTheirPlaces() async throws {
        try await withPool { pool in
            let order = ConversationOrder(pool: pool)
            var turns = [Turn.sample()]
            let key = turns[0].conversation
            for _ in 0..<3 { turns.append(.sample(conversation: key, beginsConversation: false)) }
            for index in turns.indices { turns[index].sequence = try await order.join(turns[index])?.sequence }
            #expect(turns.map(\.position) == turns.map(\.position).sorted())
            try await forget(key, pool)
            for turn in [turns[2], turns[0], turns[3], turns[1]] { try await order.add(turn) }
            let late = Turn.sample(conversation: key, beginsConversation: false)
            #expect(try await order.join(late)?.predecessor == turns[3].id)
            for turn in turns {
                #expect(try await order.head(of: key) == turn.id)
                try await order.remove(turn.id, of: key)
            }
            #expect(try await order.head(of: key) == late.id)
        }
    }

    /// The last number is in the future: the server's clock was set back since.
    @Test func numbersRiseOverAClockThatIsSetBack() async throws {
        try await withPool { pool in
            let order = ConversationOrder(pool: pool)
            var first = Turn.sample()
            let key = first.conversation
            first.sequence = try #require(try await order.join(first)).sequence + 3_600_000_000
            try await order.add(first)
            let second = Turn.sample(conversation: key, beginsConversation: false)
            #expect(try await order.join(second)?.sequence == first.position + 1)
            // Also when both have ended.
            for turn in [first, second] { try await order.remove(turn.id, of: key) }
            let third = Turn.sample(conversation: key, beginsConversation: false)
            #expect(try await order.join(third)?.sequence == first.position + 2)
            // An emptied Redis gives its time.
            try await forget(key, pool)
            let fourth = Turn.sample(conversation: key, beginsConversation: false)
            let place = try #require(try await order.join(fourth))
            #expect(place.sequence < first.position && place.sequence > fourth.acceptedAt * 1000 - 60_000_000)
        }
    }

    /// Turns of releases that went by the time of acceptance stand among the others.
    @Test func turnsWithoutANumberStandByTheirAcceptance() async throws {
        try await withPool { pool in
            let order = ConversationOrder(pool: pool)
            let old = Turn.sample(acceptedAt: Turn.sample().acceptedAt - 60_000)
            let key = old.conversation
            // As those releases did it.
            _ = try await pool.send(
                "ZADD", .text("order:{\(key.storageName)}"), .integer(old.acceptedAt), .text(old.id.description))
            let new = Turn.sample(conversation: key, beginsConversation: false)
            let place = try #require(try await order.join(new))
            #expect(place.predecessor == old.id && place.sequence > old.position)
            #expect(try await order.add(old) == old.id)
            #expect(try await order.join(new) == place)
        }
    }

    @Test func twoConversationsDoNotBeginUnderOneNumber() async throws {
        try await withPool { pool in
            let order = ConversationOrder(pool: pool)
            let first = Turn.sample()
            let second = Turn.sample(conversation: first.conversation)
            #expect(try await order.join(first) != nil)
            #expect(try await order.join(second) == nil)
            #expect(try await order.join(first) != nil)
            // Nor when the first turn has ended.
            try await order.remove(first.id, of: first.conversation)
            #expect(try await order.join(second) == nil)
            #expect(try await order.head(of: first.conversation) == nil)
        }
    }

    private func forget(_ key: ConversationKey, _ pool: RedisPool) async throws {
        let name = "order:{\(key.storageName)}"
        _ = try await pool.send("DEL", .text(name), .text(name + ":deadlines"), .text(name + ":last"))
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

    /// History goes by the turns' numbers: their ids are of gateways whose clocks differ.
    @Test func contextIsInTheOrderOfTheTurnsNumbers() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let first = Turn.sample()
            let key = first.conversation
            var random = SystemRandomNumberGenerator()
            func entry(_ step: Int64, earlierBy milliseconds: UInt64, system: String?) -> ContextCache.Entry {
                ContextCache.Entry(
                    turn: TurnID(milliseconds: first.id.milliseconds - milliseconds, using: &random),
                    position: first.position + step, system: system, message: "m\(step)", response: "r")
            }
            let entries = [
                entry(0, earlierBy: 0, system: "old"), entry(1, earlierBy: 700, system: "new"),
                entry(3, earlierBy: 300, system: nil),
            ]
            for index in [1, 0, 2] {
                try await cache.append(key, entry: entries[index], beginsConversation: index == 0)
            }
            #expect(try await cache.load(key)?.entries == entries)
            // What a turn sees: those with smaller numbers, whatever its own id says.
            var turn = Turn.sample(conversation: key, acceptedAt: first.acceptedAt - 5000)
            turn.sequence = first.position + 2
            #expect(try await cache.load(key)?.entries.filter { $0.isBefore(turn) }.map(\.message) == ["m0", "m1"])
            // The one that the bound of a reader leaves out carries the newest system message of the older ones.
            #expect(try await cache.load(key, maximumBytes: 0)?.entries.map(\.turn) == [entries[2].turn])
            #expect(try await cache.load(key, maximumBytes: 0)?.entries.first?.system == "new")
        }
    }

    /// A release that ordered turns by their ids writes beside this one.
    @Test func whatAnOlderReleaseAddedMakesTheContextIncompleteUntilItIsFilled() async throws {
        try await withPool { pool in
            let cache = ContextCache(pool: pool)
            let turn = Turn.sample()
            let entry = ContextCache.Entry(
                turn: turn.id, position: turn.position, system: nil, message: "m", response: "r")
            try await cache.append(turn.conversation, entry: entry, beginsConversation: true)
            #expect(try await cache.load(turn.conversation)?.complete == true)
            let old = Turn.sample()
            _ = try await pool.send(
                "HSET", .text("context:{\(turn.conversation.storageName)}"), .text(old.id.description), "x")
            #expect(try await cache.load(turn.conversation)?.complete == false)
            try await cache.fill(turn.conversation, entries: [entry])
            let filled = try #require(try await cache.load(turn.conversation))
            #expect(filled.complete && filled.entries == [entry])
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
            let field = entries[0].field
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
            let field = entry.field
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
