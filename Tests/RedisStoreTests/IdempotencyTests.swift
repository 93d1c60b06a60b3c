import ChatCore
import RedisStore
import TestServers
import Testing

@Suite(.timeLimit(.minutes(1))) struct IdempotencyTests {
    private func withKeys(_ body: (IdempotencyKeys) async throws -> Void) async throws {
        try await withPool { try await body(IdempotencyKeys(pool: $0)) }
    }

    private func keyed(_ key: String = "k", digest: String = "d", lifetime: Int64 = 600_000, like other: Turn? = nil)
        -> Turn
    {
        var turn = Turn.sample(conversation: other?.conversation, lifetime: lifetime)
        turn.idempotency = .init(key: key, requestDigest: digest)
        return turn
    }

    @Test func aKeyStandsForTheFirstTurnThatTakesIt() async throws {
        try await withKeys { keys async throws in
            let first = keyed()
            let second = keyed(digest: "other", like: first)
            let user = first.conversation.owner
            #expect(try await keys.look("k", of: user) == nil)
            #expect(try await keys.take(first, body: [1, 2]) == .taken(attempt: 1))
            let claim = try #require(try await keys.look("k", of: user))
            #expect(claim.turn == first.id && claim.requestDigest == "d" && claim.state == .reserved([1, 2]))
            #expect(try await keys.take(second, body: [3]) == .standsFor(claim))
            #expect(try await keys.confirm(first))
            #expect(try await keys.look("k", of: user)?.state == .published)
            // Published: whoever comes for the same turn is told so, and has nothing to publish.
            guard case .standsFor(let published) = try await keys.take(first, body: [1, 2]) else {
                Issue.record("a published turn was given out again")
                return
            }
            #expect(published.state == .published && published.turn == first.id)
            #expect(try await !keys.confirm(second))
            // Neither another key nor another user is concerned.
            #expect(try await keys.look("K", of: user) == nil)
            #expect(try await keys.look("k", of: UserKey(tenant: user.tenant, user: "x")) == nil)
        }
    }

    @Test func amongManyAtOnceOneTakesTheKey() async throws {
        try await withKeys { keys async throws in
            let first = keyed()
            let takers = (0..<20).map { _ in keyed(like: first) }
            let taken = try await withThrowingTaskGroup(of: Bool.self) { group in
                for turn in takers {
                    group.addTask { try await keys.take(turn, body: [1]) == .taken(attempt: 1) }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(taken == 1)
        }
    }

    @Test func aReservedTurnGoesToWhoeverPublishesItLast() async throws {
        try await withKeys { keys async throws in
            let turn = keyed()
            let user = turn.conversation.owner
            #expect(try await keys.take(turn, body: [1]) == .taken(attempt: 1))
            #expect(try await keys.take(turn, body: [1]) == .taken(attempt: 2))
            // One's failure frees nothing: the other may have published the turn. Said twice, it is still one's.
            #expect(try await !keys.release(turn, attempt: 2))
            #expect(try await !keys.release(turn, attempt: 2))
            #expect(try await keys.look("k", of: user)?.turn == turn.id)
            #expect(try await keys.release(turn, attempt: 1))
            #expect(try await keys.look("k", of: user) == nil)
            // What is published is never freed.
            #expect(try await keys.take(turn, body: [1]) == .taken(attempt: 1))
            #expect(try await keys.confirm(turn))
            #expect(try await !keys.release(turn, attempt: 1))
        }
    }

    @Test func aReservationLapsesAtTheDeadlineAndCanBeTakenOver() async throws {
        try await withKeys { keys async throws in
            let turn = keyed(lifetime: -1)
            let user = turn.conversation.owner
            #expect(try await keys.take(turn, body: [1]) == .taken(attempt: 1))
            let lapsed = try #require(try await keys.look("k", of: user))
            #expect(lapsed.state == .lapsed)
            let next = keyed(like: turn)
            #expect(try await keys.take(next, body: [2]) == .standsFor(lapsed))
            #expect(try await keys.take(next, body: [2], insteadOf: turn.id) == .taken(attempt: 1))
            #expect(try await keys.look("k", of: user)?.state == .reserved([2]))
            #expect(try await !keys.confirm(turn))
        }
    }

    @Test func aConfirmationOutlivesTheLossOfTheKey() async throws {
        try await withKeys { keys async throws in
            let turn = keyed()
            #expect(try await keys.confirm(turn))
            let claim = try await keys.look("k", of: turn.conversation.owner)
            #expect(claim?.turn == turn.id && claim?.state == .published && claim?.requestDigest == "d")
        }
    }
}
