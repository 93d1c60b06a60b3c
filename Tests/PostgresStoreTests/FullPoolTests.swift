import ChatCore
import FullWorkPool
import Testing

@testable import PostgresStore

/// What of settling goes to the pool for long computation, and what comes of it while that is full.
@Suite(.timeLimit(.minutes(2))) struct FullPoolTests {
    @Test func aLargeStatementIsMadeThere() async throws {
        try await withDatabase { database in
            let full = await FullPool()
            let repository = SettlementRepository(database: database, work: full.pool)
            let shard = database.shards[0]
            let (small, large) = (try outcome(1, bytes: 10), try outcome(2, bytes: FullPool.large))
            #expect(try await repository.settle([small], on: shard).stored == [small.turn])
            // As when the shard is busy: nothing of it is refused for good, and the same call may succeed later.
            let error = await failure { try await repository.settle([large], on: shard) }
            #expect(error == .overloaded(shard: shard.name) && error?.isTransient == true)
            await full.letGo()
            #expect(try await repository.settle([small, large], on: shard).stored == [large.turn])
        }
    }

    private func outcome(_ number: Int, bytes: Int) throws -> TurnOutcome {
        TurnOutcome(
            turn: .test(number), conversation: try ConversationKey.test(), beginsConversation: false, kind: .chat,
            status: .done, finishReason: .stop, error: nil, system: nil, message: "m",
            response: String(repeating: "r", count: bytes), eventEnds: [bytes],
            usage: .init(promptTokens: 1, completionTokens: 1), model: "m", seed: 1, acceptedAt: 1, firstTokenAt: nil,
            endedAt: 2, attempts: 1)
    }
}
