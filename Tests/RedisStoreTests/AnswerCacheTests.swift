import ChatCore
import Foundation
import RedisStore
import Testing

@Suite(.timeLimit(.minutes(2))) struct AnswerCacheTests {
    private func answer(_ count: Int = 3, reason: TurnOutcome.FinishReason = .stop) -> CachedAnswer {
        CachedAnswer(
            turn: Turn.sample().id, numericsID: "n1", prompt: [1, 2, 3], tokens: (0..<count).map { Int32($0) },
            finishReason: reason)
    }

    @Test func anAnswerIsFoundByItsTenantOnly() async throws {
        try await withPool { pool in
            let cache = AnswerCache(pool: pool, lifetime: .seconds(60), maximumBytes: 1 << 20)
            let tenant = "t-\(UUID())"
            let kept = answer()
            let before = try await cache.find("k", of: tenant)
            #expect(before == nil)
            #expect(try await !cache.contains("k", of: tenant))
            #expect(try await cache.keep(kept, under: "k", of: tenant))
            #expect(try await cache.find("k", of: tenant) == kept)
            #expect(try await cache.contains("k", of: tenant))
            #expect(try await cache.find("k", of: tenant + "2") == nil)
            #expect(try await cache.find("l", of: tenant) == nil)
            #expect(kept.answers(prompt: [1, 2, 3]) && !kept.answers(prompt: [1, 2, 3, 4]))
            // The first one stays.
            #expect(try await cache.keep(answer(9), under: "k", of: tenant))
            #expect(try await cache.find("k", of: tenant) == kept)
            // What did not end by itself is no answer, and what is too large drives out too many.
            #expect(try await !cache.keep(answer(reason: .cancelled), under: "c", of: tenant))
            #expect(try await !cache.keep(answer(0), under: "e", of: tenant))
            #expect(try await !cache.keep(answer(1 << 15), under: "b", of: tenant))
        }
    }

    @Test func theOldestGoWhenTheBoundIsReachedAndTheBooksBalance() async throws {
        try await withPool { pool in
            let cache = AnswerCache(pool: pool, lifetime: .seconds(60), maximumBytes: 10_000)
            let tenant = "t-\(UUID())"
            for number in 0..<100 { #expect(try await cache.keep(answer(100), under: "k\(number)", of: tenant)) }
            #expect(try await cache.find("k0", of: tenant) == nil)
            #expect(try await cache.find("k99", of: tenant) != nil)
            let name = "cache:{\(tenant.utf8.count):\(tenant)}"
            let count = try await pool.send("ZCARD", .text(name + ":expiries")).int ?? 0
            #expect((10...22).contains(count))
            #expect(try await pool.send("HLEN", .text(name)).int == count + 1)
            var sum: Int64 = 0
            for number in 0..<100 { sum += try await pool.send("HSTRLEN", .text(name), .text("k\(number)")).int ?? 0 }
            #expect(try await pool.send("HGET", .text(name), "bytes").int == sum && sum <= 10_000)
            for key in [name, name + ":expiries"] {
                #expect((1...60_000).contains(try await pool.send("PTTL", .text(key)).int ?? 0))
            }
        }
    }

    @Test func anAnswerPastItsTimeIsGone() async throws {
        try await withPool { pool in
            let tenant = "t-\(UUID())"
            let brief = AnswerCache(pool: pool, lifetime: .milliseconds(1), maximumBytes: 1 << 20)
            let long = AnswerCache(pool: pool, lifetime: .seconds(60), maximumBytes: 1 << 20)
            #expect(try await long.keep(answer(), under: "stays", of: tenant))
            #expect(try await brief.keep(answer(), under: "goes", of: tenant))
            try await eventually("its time passes") { try await brief.find("goes", of: tenant) == nil }
            #expect(try await long.find("stays", of: tenant) != nil)
            // Kept again, and what is left of it counts once.
            #expect(try await long.keep(answer(), under: "goes", of: tenant))
            let name = "cache:{\(tenant.utf8.count):\(tenant)}"
            #expect(try await pool.send("HLEN", .text(name)).int == 3)
            let size = try await pool.send("HSTRLEN", .text(name), "goes").int ?? 0
            #expect(try await pool.send("HGET", .text(name), "bytes").int == 2 * size)
        }
    }

    @Test func bytesThatAreNoAnswerAreNone() async throws {
        try await withPool { pool in
            let tenant = "t-\(UUID())"
            let cache = AnswerCache(pool: pool, lifetime: .seconds(60), maximumBytes: 1 << 20)
            let name = "cache:{\(tenant.utf8.count):\(tenant)}"
            #expect(try await cache.keep(answer(), under: "k", of: tenant))
            let good = try #require(try await pool.send("HGET", .text(name), "k").data)
            for length in 0..<good.count {
                _ = try await pool.send("HSET", .text(name), "k", .bytes(Array(good.prefix(length))))
                #expect(try await cache.find("k", of: tenant) == nil)
            }
            _ = try await pool.send("HSET", .text(name), "k", .bytes(good + [0]))
            #expect(try await cache.find("k", of: tenant) == nil)
        }
    }
}

@Suite struct AnswerKeyTests {
    private func key(_ turn: Turn, _ history: [ContextCache.Entry] = []) -> String {
        AnswerUse.key(of: turn, history: history)
    }

    private func turn(
        tenant: String = "acme", user: String = "ann", message: String = "Hello", system: String? = nil,
        context: [Turn.Message] = [], model: String = "m", change: (inout Turn.Sampling) -> Void = { _ in }
    ) -> Turn {
        let id = Turn.sample().id
        var sampling = Turn.Sampling(maxTokens: 16, temperature: 0.5, seed: 7, stop: ["x"])
        change(&sampling)
        return Turn(
            id: id,
            conversation: .init(owner: .init(tenant: tenant, user: user), id: .init(firstTurn: id)),
            beginsConversation: true, kind: .stream, message: message, system: system, context: context, model: model,
            sampling: sampling, acceptedAt: 1, deadline: 2)
    }

    @Test func allThatTheAnswerFollowsFromIsInTheKey() {
        let first = Turn.sample().id
        func entry(_ message: String, _ response: String, system: String? = nil) -> ContextCache.Entry {
            .init(turn: first, system: system, message: message, response: response)
        }
        var degraded = turn()
        degraded.degradation = .init(contextTokens: 512)
        let keys = [
            key(turn()), key(turn(tenant: "acme2")), key(turn(message: "Hello!")), key(turn(system: "")),
            key(turn(system: "s")), key(turn(context: [.init(role: .user, content: "Hello")])),
            key(turn(context: [.init(role: .assistant, content: "Hello")])), key(turn(model: "n")),
            key(turn { $0.maxTokens = 17 }), key(turn { $0.temperature = 0 }), key(turn { $0.topK = 1 }),
            key(turn { $0.topP = 0.5 }), key(turn { $0.minP = 0.5 }), key(turn { $0.repetitionPenalty = 2 }),
            key(turn { $0.presencePenalty = 1 }), key(turn { $0.frequencyPenalty = 1 }), key(turn { $0.seed = 8 }),
            key(turn { $0.stop = [] }), key(turn { $0.stop = ["", "x"] }), key(degraded),
            key(turn(), [entry("a", "b")]), key(turn(), [entry("ab", "c")]), key(turn(), [entry("a", "bc")]),
            key(turn(), [entry("a", "b"), entry("a", "b")]), key(turn(), [entry("a", "b", system: "s")]),
        ]
        #expect(Set(keys).count == keys.count)
    }

    @Test func whatChangesNothingIsNotInTheKey() {
        #expect(key(turn()) == key(turn(user: "bob")))
        #expect(key(turn { $0.temperature = 0 }) == key(turn { ($0.temperature, $0.seed) = (0, 99) }))
        // A turn without a response is shown to nobody; only its system message counts.
        let failed = ContextCache.Entry(turn: Turn.sample().id, system: nil, message: "lost", response: "")
        #expect(key(turn()) == key(turn(), [failed]))
        let begun = ContextCache.Entry(turn: Turn.sample().id, system: "s", message: "lost", response: "")
        #expect(key(turn(system: "s")) == key(turn(), [begun]))
    }
}
