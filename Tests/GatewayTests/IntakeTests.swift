import ChatCore
import Foundation
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import TestServers
import Testing
import TurnProtocol

@testable import gateway

/// What accepting does while its stores are away, unless a test brings them.
@Suite struct IntakeTests {
    private let owner = UserKey(tenant: "acme", user: "ann")

    func intake(
        acceptsUncounted: Bool, redis: RedisPool? = nil, room: RedisRoom? = nil, perMinute: Int = 1,
        perMinuteOfTenant: Int = 0, publisher: RabbitPublisher? = nil
    ) throws -> TurnIntake {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let redis = redis ?? RedisPool(configuration: RedisConfiguration(port: 1), logger: logger)
        let rabbit = try RabbitConfiguration(uri: "amqp://guest:guest@127.0.0.1:1/")
        let publisher =
            publisher
            ?? RabbitPublisher(
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
                model: "m", defaultMaxTokens: 1, requestsPerMinute: [.chat: perMinute, .batch: perMinute],
                requestsPerMinuteOfTenant: perMinuteOfTenant,
                acceptsUncounted: acceptsUncounted,
                outstanding: .init(turnsPerUser: 1, turnsPerTenant: 1, bytesPerTenant: 1), deadline: .seconds(1),
                batchDeadline: .seconds(1)),
            limiter: RateLimiter(pool: redis),
            gate: IntakeGate(
                publisher: publisher, backlog: backlog, database: database,
                redis: room ?? RedisRoom(redis: redis, watermark: 80, logger: logger),
                backlogLimit: 10),
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
        #expect(refusal?.message == "Redis cannot be reached; try again")
        let lenient = try intake(acceptsUncounted: true)
        let passed = await error { () async throws(APIError) in
            try await lenient.limitRate(.chat, owner: owner, key: "k")
        }
        #expect(passed == nil)
    }

    @Test func withoutABrokerNewTurnsAreToldToComeBack() async throws {
        let gate = try intake(acceptsUncounted: true).gate
        let refusal = await error { () async throws(APIError) in try gate.check(owner, .chat) }
        #expect(refusal?.status.code == 503 && refusal?.code == "unavailable" && refusal?.retryAfter != nil)
        #expect(refusal?.message.contains("broker") == true)
    }

    /// A connected pool, on a server of its own or on the one that all tests share.
    /// - Parameter tap: before the shared one: where all goes through, on one connection.
    private func withRedis(
        alone: Bool, tap: RedisTap? = nil, _ body: (RedisPool) async throws -> Void
    ) async throws {
        let server = alone ? try await TestServers.startRedis(persistent: false) : nil
        let shared = try await TestServers.redis()
        let endpoint = server?.endpoint ?? shared
        var configuration = RedisConfiguration(
            host: endpoint.host, port: tap?.port ?? endpoint.port, password: endpoint.password)
        if tap != nil { configuration.poolSize = 1 }
        let pool = RedisPool(
            configuration: configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { try await pool.run() }
        try await pool.waitUntilConnected()
        try await body(pool)
        running.cancel()
        try await server?.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aRedisThatTakesNoWritesIsNotSaidToBeOutOfReach() async throws {
        try await withRedis(alone: true) { redis in
            let intake = try intake(acceptsUncounted: false, redis: redis)
            _ = try await redis.send("CONFIG", "SET", "min-replicas-to-write", "1")
            func refusal() async -> APIError? {
                await error { () async throws(APIError) in try await intake.limitRate(.chat, owner: owner, key: "k") }
            }
            // In its own words, and then by the breaker that has heard them often enough.
            var refusals = [await refusal()]
            let deadline = ContinuousClock.now + .seconds(30)
            while redis.writes.state == .closed, ContinuousClock.now < deadline { refusals.append(await refusal()) }
            refusals.append(await refusal())
            #expect(redis.writes.state != .closed)
            for refusal in refusals {
                #expect(refusal?.status.code == 503 && refusal?.code == "unavailable" && refusal?.retryAfter != nil)
                #expect(refusal?.message == "Redis answers and refuses writes; try again")
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func aNearlyFullRedisRefusesNewTurns() async throws {
        try await withRedis(alone: true) { redis in
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let room = RedisRoom(redis: redis, watermark: 80, logger: logger)
            let gate = try intake(acceptsUncounted: true, redis: redis, room: room).gate
            func refusal() async -> APIError? {
                await error { () async throws(APIError) in try gate.check(owner, .chat) }
            }
            // No maximum, and one that is far away. The broker is away, which is all there is to refuse for.
            for maximum in ["0", "1gb"] {
                _ = try await redis.send("CONFIG", "SET", "maxmemory", .text(maximum))
                await room.look()
                #expect(await refusal()?.code == "unavailable")
            }
            let used = try await redis.memory().usedBytes
            _ = try await redis.send("CONFIG", "SET", "maxmemory", .integer(used * 10 / 9))
            await room.look()
            let full = await refusal()
            #expect(full?.status.code == 503 && full?.code == "overloaded" && full?.retryAfter != nil)
            // Whoever says 100 is not refused.
            let lenient = RedisRoom(redis: redis, watermark: 100, logger: logger)
            await lenient.look()
            #expect(!lenient.isFull && (lenient.share ?? 0) > 0.5)
            _ = try await redis.send("CONFIG", "SET", "maxmemory", "1gb")
            await room.look()
            #expect(await refusal()?.code == "unavailable")
        }
    }

    @Test(.timeLimit(.minutes(1))) func aTenantsRequestsAreCountedOverItsUsersAndKeys() async throws {
        try await withRedis(alone: false) { redis in
            let intake = try intake(acceptsUncounted: false, redis: redis, perMinute: 2, perMinuteOfTenant: 3)
            let tenant = "t-\(UInt64.random(in: .min ... .max))"
            func ask(_ user: String, key: String = "k", of tenant: String) async -> APIError? {
                await error { () async throws(APIError) in
                    try await intake.limitRate(.chat, owner: UserKey(tenant: tenant, user: user), key: key)
                }
            }
            #expect(await ask("ann", of: tenant) == nil)
            #expect(await ask("ann", of: tenant) == nil)
            // What ann is refused takes nothing from bob.
            let own = await ask("ann", of: tenant)
            #expect(own?.status.code == 429 && own?.message.contains("key and user") == true)
            #expect(await ask("bob", of: tenant) == nil)
            let shared = await ask("cleo", key: "l", of: tenant)
            #expect(shared?.status.code == 429 && shared?.message.contains("each tenant") == true)
            #expect(shared?.retryAfter.map { $0 > .zero && $0 <= .seconds(60) } == true)
            #expect(await ask("ann", of: tenant + "2") == nil)
        }
    }

    /// All that a POST waits for at Redis: its limits, then its places.
    @Test(.timeLimit(.minutes(2))) func aNewTurnTakesTwoTripsToRedis() async throws {
        let tap = try #require(RedisTap(before: try await TestServers.redis()))
        defer { tap.stop() }
        let publisher = RabbitPublisher(
            configuration: try RabbitConfiguration(uri: try await TestServers.rabbit().freshVirtualHost().uri),
            topology: .platform(responseShards: ["shard0"]),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { try await publisher.run() }
        defer { running.cancel() }
        while !publisher.takesMessages { try await Task.sleep(for: .milliseconds(5)) }
        try await withRedis(alone: false, tap: tap) { redis in
            let intake = try intake(
                acceptsUncounted: false, redis: redis, perMinute: 9, perMinuteOfTenant: 9, publisher: publisher)
            func accept() async throws {
                let principal = Principal(tenant: "t-\(UInt64.random(in: .min ... .max))", keyID: "k")
                let request = try TurnRequest(body: Data(#"{"message":"Hello","user_id":"ann"}"#.utf8))
                _ = try await intake.accept(request, kind: .batch, key: nil, from: principal)
            }
            // The first one brings the scripts and asks for the time.
            try await accept()
            let count = try await tap.count { try await accept() }
            #expect(count == .init(scripts: 4, trips: 2))
        }
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
