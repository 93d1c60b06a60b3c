import ChatCore
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import Testing
import TurnProtocol

@testable import gateway

/// What accepting does while its stores are away: nothing here is connected to anything.
@Suite struct IntakeTests {
    private let owner = UserKey(tenant: "acme", user: "ann")

    private func intake(acceptsUncounted: Bool) throws -> TurnIntake {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let redis = RedisPool(configuration: RedisConfiguration(port: 1), logger: logger)
        let rabbit = try RabbitConfiguration(uri: "amqp://guest:guest@127.0.0.1:1/")
        let publisher = RabbitPublisher(
            configuration: rabbit, topology: .platform(responseShards: ["shard0"]), logger: logger)
        let database = try ShardedDatabase(
            configuration: DatabaseConfiguration(shards: "postgresql://u:p@127.0.0.1:1/d", poolSize: 1), logger: logger)
        let inspector = QueueInspector(configuration: rabbit, logger: logger)
        let backlog = ResponseBacklog(shards: ["shard0"], inspector: inspector, logger: logger)
        let conversations = ConversationRepository(database: database)
        let clock = RedisClock(pool: redis)
        let log = TurnLog(pool: redis)
        let keys = IdempotencyKeys(pool: redis)
        return TurnIntake(
            limits: IntakeLimits(
                model: "m", defaultMaxTokens: 1, requestsPerMinute: [.chat: 1], acceptsUncounted: acceptsUncounted,
                outstandingPerUser: 1, deadline: .seconds(1), batchDeadline: .seconds(1)),
            limiter: RateLimiter(pool: redis),
            gate: IntakeGate(publisher: publisher, backlog: backlog, database: database, backlogLimit: 10),
            admission: AdmissionControl(
                bounds: Admission.Bounds(premium: .zero, standard: .zero, economy: .zero),
                ladder: DegradationLadder(
                    answers: .off, contextTokens: nil, maxTokens: nil, lighterModel: nil, start: 0.5),
                loads: LoadDirectory(pool: redis), nodes: NodeDirectory(pool: redis),
                outstanding: OutstandingTurns(pool: redis), inspector: inspector, answers: nil, logger: logger),
            repeats: RepeatedRequests(
                keys: keys, log: log, conversations: conversations, generation: GenerationMark(pool: redis),
                clock: clock, logger: logger),
            acceptance: TurnAcceptance(
                keys: keys, outstanding: OutstandingTurns(pool: redis), log: log, order: ConversationOrder(pool: redis),
                publisher: publisher, logger: logger),
            contexts: ContextCache(pool: redis), conversations: conversations, clock: clock,
            metrics: IntakeMetrics(), logger: logger)
    }

    private func error(_ body: () async throws(APIError) -> Void) async -> APIError? {
        do throws(APIError) {
            try await body()
            return nil
        } catch {
            return error
        }
    }

    @Test func whatCannotBeCountedIsRefusedOrLetThroughAsConfigured() async throws {
        let strict = try intake(acceptsUncounted: false)
        let refusal = await error { () async throws(APIError) in
            try await strict.limitRate(.chat, owner: owner, key: "k")
        }
        #expect(refusal?.status.code == 503 && refusal?.retryAfter != nil)
        let lenient = try intake(acceptsUncounted: true)
        let passed = await error { () async throws(APIError) in
            try await lenient.limitRate(.chat, owner: owner, key: "k")
        }
        #expect(passed == nil)
    }

    @Test func withoutABrokerNewTurnsAreToldToComeBack() async throws {
        let gate = try intake(acceptsUncounted: true).gate
        let refusal = await error { () async throws(APIError) in try gate.check(owner) }
        #expect(refusal?.status.code == 503 && refusal?.code == "unavailable" && refusal?.retryAfter != nil)
        #expect(refusal?.message.contains("broker") == true)
    }

    @Test func aKeyThatCannotBeLookedUpIsNoNewRequest() async throws {
        let repeats = try intake(acceptsUncounted: true).repeats
        let refusal = await error { () async throws(APIError) in
            _ = try await repeats.find(.init(key: "k", requestDigest: "d"), of: owner)
        }
        #expect(refusal?.status.code == 503)
        let without = try await repeats.find(nil, of: owner)
        #expect(without == .new(insteadOf: nil))
    }
}
