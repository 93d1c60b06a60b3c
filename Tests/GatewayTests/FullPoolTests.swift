import ChatCore
import Foundation
import FullWorkPool
import Hummingbird
import NIOCore
import PostgresStore
import RedisStore
import ServiceKit
import ServiceLifecycle
import TestServers
import Testing

@testable import gateway

/// What clients are told while the pool for long computation is full, and that what is short needs no place there.
@Suite(.timeLimit(.minutes(2))) struct FullPoolTests {
    private static let long = String(repeating: "m", count: FullPool.large)

    private func router() -> Router<GatewayRequestContext> {
        let router = Router(context: GatewayRequestContext.self)
        router.add(middleware: ErrorMiddleware())
        router.add(middleware: Owner())
        return router
    }

    private func relay(
        _ redis: RedisPool, _ database: ShardedDatabase, _ configuration: RedisConfiguration, _ pool: WorkPool
    ) -> TurnRelay {
        TurnRelay(
            name: "test",
            finder: TurnFinder(
                log: TurnLog(pool: redis),
                settled: SettledTurns(
                    conversations: ConversationRepository(database: database), logger: LiveServer.logger),
                generation: GenerationMark(pool: redis), clock: RedisClock(pool: redis), horizon: .seconds(1)),
            places: .init(all: 10, share: 100), redis: configuration, logger: LiveServer.logger, pool: pool)
    }

    /// 503, and when to come again.
    private func isRefusal(_ answer: String) -> Bool {
        answer.hasPrefix("HTTP/1.1 503") && answer.lowercased().contains("retry-after: 2")
            && answer.contains("as much to compute")
    }

    @Test func aLongRequestIsToldToComeAgain() async throws {
        let full = await FullPool()
        let redis = RedisPool(configuration: RedisConfiguration(port: 1), logger: LiveServer.logger)
        let database = try ShardedDatabase(
            configuration: DatabaseConfiguration(shards: "postgresql://u:p@127.0.0.1:1/d", poolSize: 1),
            logger: LiveServer.logger)
        let router = router()
        BeginRoutes(
            intake: try IntakeTests().intake(acceptsUncounted: true),
            relay: relay(redis, database, RedisConfiguration(port: 1), full.pool),
            body: BodyReader(maximumBytes: 1 << 20, pool: full.pool),
            room: BodyRoom(maximumBytes: 8 << 20), unknownFields: .refuse, pool: full.pool
        ).add(to: router)
        try await LiveServer.run(router) { port, _ in
            func post(_ body: Data, _ fields: String = "") async throws -> String {
                var request = ByteBuffer(
                    string: "POST /async-chat HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.count)\r\n\(fields)"
                        + "Connection: close\r\n\r\n")
                request.writeBytes(body)
                return try await LiveServer.exchange(port, request)
            }
            let long = try await post(Data(#"{"user_id":"ann","message":"\#(Self.long)"}"#.utf8))
            #expect(isRefusal(long), "\(long)")
            // Nobody knows how long a packed body is before it is unpacked.
            let packed = try #require(
                Data(base64Encoded: "eJyrVspNLS5OTE9VslLyyFTSUSotTi2Kz0wBchOVagGZKwmL"))
            let answer = try await post(packed, "Content-Encoding: deflate\r\n")
            #expect(isRefusal(answer), "\(answer)")
            // The others come as far as to the broker, which is away.
            let short = try await post(Data(#"{"user_id":"ann","message":"Hi"}"#.utf8))
            #expect(short.hasPrefix("HTTP/1.1 503") && short.contains("broker"), "\(short)")
        }
    }

    @Test func aKeyIsNotTakenFromATurnThatCannotBeReadNow() async throws {
        try await withStores { redis, _, database in
            let full = await FullPool()
            let keys = IdempotencyKeys(pool: redis)
            let repeats = RepeatedRequests(
                keys: keys, log: TurnLog(pool: redis), conversations: ConversationRepository(database: database),
                generation: GenerationMark(pool: redis), clock: RedisClock(pool: redis), logger: LiveServer.logger,
                pool: full.pool)
            let turn = Turn.sample()
            let body = Array(try JSONEncoder().encode(turn)) + Array(Self.long.utf8.map { _ in UInt8(ascii: " ") })
            _ = try await keys.take(turn, body: body)
            let refusal = await #expect(throws: APIError.self) {
                try await repeats.find(turn.idempotency, of: turn.conversation.owner)
            }
            #expect(refusal == .busy && refusal?.status == .serviceUnavailable && refusal?.retryAfter != nil)
            await full.letGo()
            #expect(try await repeats.find(turn.idempotency, of: turn.conversation.owner) == .reserved(turn))
        }
    }

    @Test func aLongSettledTurnIsReplayedInThePool() async throws {
        try await withStores { redis, configuration, database in
            let full = await FullPool()
            let router = router()
            FollowRoutes(
                streams: .init(
                    relay: relay(redis, database, configuration, full.pool), heartbeat: .seconds(60),
                    writeTime: .init(label: "test"), logger: LiveServer.logger),
                resumes: .init(label: "test")
            ).add(to: router)
            let (short, long) = (TurnOutcome(of: .sample(), "Hi"), TurnOutcome(of: .sample(), Self.long))
            _ = try await SettlementRepository(database: database).settle([short, long], on: database.shards[0])
            try await LiveServer.run(router) { port, _ in
                func ask(_ path: String, _ outcome: TurnOutcome) async throws -> String {
                    try await LiveServer.exchange(
                        port, "GET /\(path)/\(outcome.turn) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                }
                for path in ["stream", "check-response"] {
                    let inPlace = try await ask(path, short)
                    #expect(inPlace.hasPrefix("HTTP/1.1 200") && inPlace.contains("Hi"), "\(inPlace)")
                    let refused = try await ask(path, long)
                    #expect(isRefusal(refused), "\(refused.prefix(300))")
                }
                await full.letGo()
                for path in ["stream", "check-response"] {
                    let answer = try await ask(path, long)
                    #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains(Self.long))
                }
            }
        }
    }

    @Test func aLongTurnSharesNoAnswersAndAShortOneDoes() async throws {
        let full = await FullPool()
        let redis = RedisPool(configuration: RedisConfiguration(port: 1), logger: LiveServer.logger)
        let answers = SharedAnswers(
            cache: AnswerCache(pool: redis, lifetime: .seconds(1), maximumBytes: 1),
            contexts: ContextCache(pool: redis),
            order: ConversationOrder(pool: redis), logger: LiveServer.logger, pool: full.pool)
        let turn = Turn.sample()
        let entry = ContextCache.Entry(turn: turn.id, system: nil, message: Self.long, response: "r")
        #expect(await answers.key(of: turn, history: []) != nil)
        #expect(await answers.key(of: turn, history: [entry]) == nil)
        await full.letGo()
        let key = await answers.key(of: turn, history: [entry])
        #expect(key == AnswerUse.key(of: turn, history: [entry]))
    }

    private func withStores(
        _ body: (RedisPool, RedisConfiguration, ShardedDatabase) async throws -> Void
    ) async throws {
        let endpoint = try await TestServers.redis()
        let configuration = RedisConfiguration(
            host: endpoint.host, port: endpoint.port, password: endpoint.password)
        let redis = RedisPool(configuration: configuration, logger: LiveServer.logger)
        let shards = try await TestServers.postgres().freshDatabases(count: 1)
        let database = try ShardedDatabase(
            configuration: DatabaseConfiguration(shards: shards.joined(), poolSize: 1), logger: LiveServer.logger)
        let services: [any Service] = [redis, database]
        let running = services.map { service in Task { try await service.run() } }
        defer { for task in running { task.cancel() } }
        try await redis.waitUntilConnected()
        try await Migrations.migrate(database)
        try await body(redis, configuration, database)
    }
}

extension TurnOutcome {
    fileprivate init(of turn: Turn, _ response: String) {
        self.init(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: turn.kind, status: .done,
            finishReason: .stop, error: nil, system: nil, message: turn.message, response: response,
            eventEnds: [response.utf8.count], usage: .init(promptTokens: 1, completionTokens: 1), model: "m", seed: 1,
            acceptedAt: turn.acceptedAt, firstTokenAt: nil, endedAt: turn.acceptedAt, attempts: 1)
    }
}
