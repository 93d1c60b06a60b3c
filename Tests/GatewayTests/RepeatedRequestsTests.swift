import ChatCore
import Foundation
import Logging
import PostgresStore
import RedisStore
import ServiceLifecycle
import TestServers
import Testing

@testable import gateway

/// What is found out about a request with an Idempotency-Key, on a real Redis and a real shard.
@Suite(.timeLimit(.minutes(2))) struct RepeatedRequestsTests {
    private struct Stores {
        let repeats: RepeatedRequests
        let database: ShardedDatabase
        var keys: IdempotencyKeys { repeats.keys }
        var log: TurnLog { repeats.log }
    }

    @Test func whatAKeyStandsForIsFound() async throws {
        try await withStores { stores in
            let fresh = Turn.sample()
            let finding = try await find(fresh, stores)
            #expect(finding == .new(insteadOf: nil))

            // Reserved by somebody who died.
            _ = try await stores.keys.take(fresh, body: Array(try JSONEncoder().encode(fresh)))
            let reserved = try await find(fresh, stores)
            #expect(reserved == .reserved(fresh))
            // Reserved by somebody who is about to publish it: the repeat waits for that.
            let twin = Task { try await find(fresh, stores) }
            _ = try await stores.keys.confirm(fresh)
            let found = try await twin.value
            #expect(found == .accepted(fresh.id))

            var other = fresh
            other.idempotency = .init(key: "k", requestDigest: String(repeating: "b", count: 64))
            let reuse = await failure { () async throws(APIError) in _ = try await find(other, stores) }
            #expect(reuse == .keyReused)

            // What this version cannot read it cannot publish.
            let unreadable = Turn.sample()
            _ = try await stores.keys.take(unreadable, body: [1])
            let taken = try await find(unreadable, stores)
            #expect(taken == .new(insteadOf: unreadable.id))
        }
    }

    @Test func aTurnWhosePublishNobodySawIsLookedForEverywhere() async throws {
        try await withStores { stores in
            // Its deadline has passed and nobody knows it: the key is free.
            let gone = Turn.sample(deadlineIn: -60_000)
            _ = try await stores.keys.take(gone, body: [1])
            let free = try await find(gone, stores)
            #expect(free == .new(insteadOf: gone.id))

            // Its log says that it ended.
            let ended = Turn.sample(deadlineIn: -60_000)
            _ = try await stores.keys.take(ended, body: [1])
            _ = try await stores.log.reserve(ended)
            guard case .acquired(let lease, _) = try await stores.log.acquire(ended, owner: "o", redelivered: true)
            else {
                Issue.record("no lease")
                return
            }
            let outcome = TurnOutcome.sample(ended)
            _ = try await stores.log.end(lease, next: 0, end: TurnEnd(outcome: outcome))
            let known = try await find(ended, stores)
            #expect(known == .accepted(ended.id))

            // It may be ending at this moment.
            let ending = Turn.sample(deadlineIn: -1)
            _ = try await stores.keys.take(ending, body: [1])
            _ = try await stores.log.reserve(ending)
            let busy = await failure { () async throws(APIError) in _ = try await find(ending, stores) }
            #expect(busy == .keyInUse)

            // Only its shard knows it, and of another also the log of the key is lost.
            let settled = Turn.sample(deadlineIn: -60_000)
            _ = try await stores.keys.take(settled, body: [1])
            let lost = Turn.sample()
            for turn in [settled, lost] {
                _ = try await SettlementRepository(database: stores.database).settle(
                    [TurnOutcome.sample(turn)], on: stores.database.shards[0])
                let finding = try await find(turn, stores)
                #expect(finding == .accepted(turn.id))
            }
        }
    }

    @Test func theShardIsAskedOnlyWhileRedisMayHaveForgottenADay() {
        let day: Int64 = 24 * 3600 * 1000
        #expect(RepeatedRequests.mayBeForgotten(now: 10 * day, keptSince: 9 * day + 1))
        #expect(!RepeatedRequests.mayBeForgotten(now: 10 * day, keptSince: 9 * day))
    }

    private func find(_ turn: Turn, _ stores: Stores) async throws(APIError) -> RepeatedRequests.Finding {
        try await stores.repeats.find(turn.idempotency, of: turn.conversation.owner)
    }

    private func failure(_ body: () async throws(APIError) -> Void) async -> APIError? {
        do throws(APIError) {
            try await body()
            return nil
        } catch {
            return error
        }
    }

    private func withStores(_ body: (Stores) async throws -> Void) async throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let endpoint = try await TestServers.redis()
        let redis = RedisPool(
            configuration: RedisConfiguration(host: endpoint.host, port: endpoint.port, password: endpoint.password),
            logger: logger)
        let shards = try await TestServers.postgres().freshDatabases(count: 1)
        let database = try ShardedDatabase(
            configuration: DatabaseConfiguration(shards: shards.joined(), poolSize: 1), logger: logger)
        let services: [any Service] = [redis, database]
        let running = services.map { service in Task { try await service.run() } }
        defer { for task in running { task.cancel() } }
        try await redis.waitUntilConnected()
        try await Migrations.migrate(database)
        try await body(
            Stores(
                repeats: RepeatedRequests(
                    keys: IdempotencyKeys(pool: redis), log: TurnLog(pool: redis),
                    conversations: ConversationRepository(database: database),
                    generation: GenerationMark(pool: redis), clock: RedisClock(pool: redis),
                    logger: logger),
                database: database))
    }
}

extension TurnOutcome {
    fileprivate static func sample(_ turn: Turn) -> TurnOutcome {
        TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: turn.kind, status: .done,
            finishReason: .stop, error: nil, system: nil, message: turn.message, response: "", eventEnds: [],
            usage: .init(promptTokens: 1, completionTokens: 0), model: "m", seed: 1, acceptedAt: turn.acceptedAt,
            firstTokenAt: nil, endedAt: turn.acceptedAt, attempts: 1, idempotency: turn.idempotency)
    }
}
