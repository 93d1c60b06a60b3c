import ChatCore
import PostgresStore
import Testing

@Suite(.timeLimit(.minutes(2))) struct DeadLetterTests {
    private let owner = UserKey(tenant: "acme", user: "ada\0")

    @Test func aLetterIsKeptOnceHoweverOftenItIsDrained() async throws {
        try await withDatabase { database in
            let letters = DeadLetterRepository(directory: database.directory)
            func keep(_ queue: String = "chat_queue", _ body: [UInt8] = [0, 0xFF]) async throws -> Bool {
                try await letters.keep(
                    queue: queue, messageID: "m\0", reason: "expired", turn: .test(1), owner: owner, body: body)
            }
            #expect(try await keep())
            #expect(try await !keep())
            #expect(try await keep("stream_queue"))
            #expect(try await keep("chat_queue", []))
            let all = try await letters.list()
            #expect(all.map(\.queue) == ["chat_queue", "stream_queue", "chat_queue"])
            #expect(all.map(\.bytes) == [0, 2, 2])
            let first = try #require(all.last)
            #expect(first.messageID == "m\u{1A}" && first.reason == "expired" && first.turn == .test(1))
            #expect(first.owner == UserKey(tenant: "acme", user: "ada\u{1A}") && first.diedAt > 0)
            #expect(first.replayedAs == nil && first.replayedAt == nil)
            let found = try #require(try await letters.find(first.id))
            #expect(found.record == first && found.body == [0, 0xFF])
            #expect(try await letters.find(-1) == nil)
        }
    }

    @Test func lettersAreListedByTenantReplayedAndDropped() async throws {
        try await withDatabase { database in
            let letters = DeadLetterRepository(directory: database.directory)
            for number in 1...4 {
                try await letters.keep(
                    queue: "chat_queue", messageID: "\(number)", reason: "r", turn: nil,
                    owner: number == 1 ? nil : UserKey(tenant: number == 2 ? "a" : "b", user: "u"), body: [])
            }
            let ids = try await letters.list().map(\.id)
            #expect(ids == ids.sorted(by: >) && ids.count == 4)
            #expect(try await letters.list(tenant: "b").map(\.messageID) == ["4", "3"])
            #expect(try await letters.list(limit: 1).map(\.messageID) == ["4"])

            // A replay that was cut short is taken up under the id that it was begun with.
            #expect(try await letters.beginReplay(ids[0], as: .test(1)) == .test(1))
            #expect(try await letters.beginReplay(ids[0], as: .test(2)) == .test(1))
            #expect(try await letters.beginReplay(-1, as: .test(2)) == nil)
            #expect(try await letters.find(ids[0])?.record.replayedAt == nil)
            try await letters.finishReplay(ids[0])
            let replayed = try #require(try await letters.find(ids[0])?.record.replayedAt)
            try await letters.finishReplay(ids[0])
            #expect(try await letters.find(ids[0])?.record.replayedAt == replayed)

            #expect(try await letters.drop([ids[1], -1]) == [ids[1]])
            #expect(try await letters.prune(olderThan: .seconds(3600)) == 0)
            #expect(try await letters.prune(olderThan: .seconds(3600), keeping: 1) == 2)
            #expect(try await letters.list().map(\.id) == [ids[0]])
            #expect(try await letters.prune(olderThan: .seconds(-1)) == 1)
        }
    }
}
