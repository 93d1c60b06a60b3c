import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import ServiceLifecycle
import TestServers
import Testing
import TurnProtocol

/// What is left of an acceptance that went well, failed, or broke off in the middle.
@Suite(.timeLimit(.minutes(2))) struct AcceptanceTests {
    @Test func anAcceptedTurnIsQueuedOnceAndItsKeyStandsForIt() async throws {
        try await withAcceptance { acceptance, inspector in
            let turn = Turn.sample(key: "k")
            try await acceptance.accept(turn, limits: .test(1), now: turn.acceptedAt)
            #expect(try await acceptance.keys.look("k", of: turn.conversation.owner)?.state == .published)
            #expect(try await acceptance.log.record(of: turn.id) != nil)
            #expect(try await acceptance.order.head(of: turn.conversation) == turn.id)
            try await eventually { try await queued(inspector) == 1 }
            // Again, as a repeated request would: it is published already, and stays so.
            await #expect(throws: AcceptanceError.self) {
                try await acceptance.accept(turn, limits: .test(1), now: turn.acceptedAt)
            }
            #expect(try await queued(inspector) == 1)
            #expect(try await acceptance.log.record(of: turn.id) != nil)
        }
    }

    /// What follows one another is what a client waits for: the key, the places, and that the key stands for what is queued.
    @Test func anAcceptanceTakesOneTripToRedisAndThreeWithAKey() async throws {
        let tap = try #require(RedisTap(before: try await TestServers.redis()))
        defer { tap.stop() }
        try await withAcceptance(tap: tap) { acceptance, _, _ in
            func count(key: String?) async throws -> RedisTap.Count {
                let turn = Turn.sample(key: key)
                return try await tap.count {
                    try await acceptance.accept(turn, limits: .test(1), now: turn.acceptedAt)
                }
            }
            // The first one brings the scripts.
            _ = try await count(key: "k")
            #expect(try await count(key: nil) == .init(scripts: 3, trips: 1))
            #expect(try await count(key: "k") == .init(scripts: 5, trips: 3))
        }
    }

    @Test func whatARequestThatDiedHadReservedIsPublishedUnderTheSameId() async throws {
        try await withAcceptance { acceptance, inspector in
            let turn = Turn.sample(key: "k")
            let body = Array(try JSONEncoder().encode(turn))
            // Everything but the publish, then the gateway is gone.
            _ = try await acceptance.keys.take(turn, body: body)
            _ = try await acceptance.log.reserve(turn)
            let claim = try #require(try await acceptance.keys.look("k", of: turn.conversation.owner))
            guard case .reserved(let kept) = claim.state else {
                Issue.record("\(claim)")
                return
            }
            let again = try JSONDecoder().decode(Turn.self, from: Data(kept))
            #expect(again == turn)
            try await acceptance.accept(again, limits: .test(1), now: turn.acceptedAt + 1000)
            try await eventually { try await queued(inspector) == 1 }
            #expect(try await acceptance.keys.look("k", of: turn.conversation.owner)?.state == .published)
        }
    }

    @Test func aTurnThatTheBrokerRefusedLeavesNothing() async throws {
        // No queue for turns in this virtual host: every publish comes back.
        try await withAcceptance(topology: Topology(queues: [])) { acceptance, _ in
            let turn = Turn.sample(key: "k")
            await expectRefusal(of: turn, by: acceptance)
            #expect(try await acceptance.keys.look("k", of: turn.conversation.owner) == nil)
            #expect(try await acceptance.log.record(of: turn.id) == nil)
            #expect(try await acceptance.order.head(of: turn.conversation) == nil)
            // The only place is free again.
            #expect(try await acceptance.outstanding.take(turn, bytes: 1, limits: .test(1)) == nil)

            // A repeat does not know whether an earlier publish arrived: what is reserved stays for the next one.
            let reserved = Turn.sample(key: "k")
            _ = try await acceptance.keys.take(reserved, body: [1])
            await expectRefusal(of: reserved, by: acceptance)
            #expect(try await acceptance.log.record(of: reserved.id) != nil)
            #expect(try await acceptance.keys.look("k", of: reserved.conversation.owner)?.turn == reserved.id)
        }
    }

    @Test func oneTooManyIsRefusedAndItsKeyIsFree() async throws {
        try await withAcceptance { acceptance, inspector in
            let first = Turn.sample(key: "a")
            let second = Turn.sample(key: "b", user: first.conversation.owner)
            try await acceptance.accept(first, limits: .test(1), now: first.acceptedAt)
            do throws(AcceptanceError) {
                try await acceptance.accept(second, limits: .test(1), now: first.acceptedAt)
                Issue.record("two were accepted")
            } catch .tooManyUnfinished(let limit) {
                #expect(limit == .turnsOfUser(1))
            }
            #expect(try await acceptance.keys.look("b", of: first.conversation.owner) == nil)
            #expect(try await acceptance.log.record(of: second.id) == nil)
            #expect(try await acceptance.order.head(of: second.conversation) == nil)
        }
    }

    @Test func aTenantsBytesAreCountedOverItsUsersAndComeBack() async throws {
        try await withAcceptance { acceptance, _ in
            let tenant = "t-\(UUID())"
            let turns = ["ann", "bob"].map { Turn.sample(key: "k", user: UserKey(tenant: tenant, user: $0)) }
            let limits = OutstandingTurns.Limits(turnsPerUser: 9, turnsPerTenant: 9, bytesPerTenant: 100)
            try await acceptance.accept(turns[0], limits: limits, now: turns[0].acceptedAt)
            let bytes = try await acceptance.outstanding.bytes(of: tenant)
            #expect(bytes == (try JSONEncoder().encode(turns[0]).count))
            guard case .tooManyUnfinished(.bytesOfTenant(100))? = await refusal(of: turns[1], by: acceptance, limits)
            else {
                Issue.record("it was accepted, or refused for another reason")
                return
            }
            #expect(try await acceptance.outstanding.bytes(of: tenant) == bytes)
            #expect(try await acceptance.log.record(of: turns[1].id) == nil)
            try await acceptance.outstanding.release(turns[0])
            try await acceptance.accept(turns[1], limits: limits, now: turns[1].acceptedAt)
        }
    }

    /// Two gateways, of which one's clock is far behind: the second message of a client comes after its first.
    @Test func theOrderOfAConversationDoesNotDependOnAGatewaysClock() async throws {
        try await withAcceptance { acceptance, _, broker in
            let topology = Topology.platform(responseShards: [])
            let consumer = RabbitConsumer(
                configuration: broker, queues: topology.queues.filter { $0.name == Topology.streamQueue },
                alsoDeclares: topology, prefetch: 8, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let running = Task { try await consumer.run() }
            defer { running.cancel() }
            let first = Turn.sample()
            let key = first.conversation
            let second = Turn.sample(in: key, acceptedAt: first.acceptedAt - 700)
            try await acceptance.accept(first, limits: .test(8), now: first.acceptedAt)
            try await acceptance.accept(second, limits: .test(8), now: second.acceptedAt)
            #expect(second.id < first.id)
            #expect(try await acceptance.order.head(of: key) == first.id)
            let messages = try await received(2, from: consumer)
            #expect(messages.map(\.id) == [first.id, second.id])
            #expect(messages[1].after == first.id && messages[1].position > messages[0].position)
            // The first has ended before the third is posted, at the gateway whose clock is behind.
            for turn in [first, second] { try await acceptance.order.remove(turn.id, of: key) }
            let third = Turn.sample(in: key, acceptedAt: first.acceptedAt - 700)
            try await acceptance.accept(third, limits: .test(8), now: third.acceptedAt)
            #expect(try await received(1, from: consumer)[0].position > messages[1].position)
        }
    }

    @Test func aConversationDoesNotBeginUnderAnothersNumber() async throws {
        try await withAcceptance { acceptance, _ in
            let first = Turn.sample()
            let second = Turn.sample(key: "k", in: first.conversation, begins: true)
            try await acceptance.accept(first, limits: .test(8), now: first.acceptedAt)
            do throws(AcceptanceError) {
                try await acceptance.accept(second, limits: .test(8), now: second.acceptedAt)
                Issue.record("it was accepted")
            } catch .conversationTaken {
            }
            #expect(try await acceptance.log.record(of: second.id) == nil)
            #expect(try await acceptance.keys.look("k", of: second.conversation.owner) == nil)
            #expect(try await acceptance.order.head(of: first.conversation) == first.id)
        }
    }

    /// The last of several attempts under one key takes back what they reserved, whichever began first.
    @Test func attemptsUnderOneKeyThatAreAllRefusedLeaveNothing() async throws {
        try await withAcceptance { acceptance, _ in
            for round in 0..<20 {
                let turn = Turn.sample(key: "k\(round)")
                // Two at once; a user without any free place.
                async let first: Void = expectNoPlace(for: turn, by: acceptance)
                async let second: Void = expectNoPlace(for: turn, by: acceptance)
                _ = await (first, second)
                try await expectNothingLeft(of: turn, acceptance)
            }
            // One after the other: the first is still under way when the second is refused.
            let turn = Turn.sample(key: "k")
            _ = try await acceptance.keys.take(turn, body: [1])
            await expectNoPlace(for: turn, by: acceptance)
            #expect(try await acceptance.log.record(of: turn.id) != nil)
            #expect(try await acceptance.keys.release(turn, attempt: 1))
            // Its reply was lost: the same once more.
            #expect(try await acceptance.keys.release(turn, attempt: 1))
            // One that may have published, or died, leaves the places to the next.
            let other = Turn.sample(key: "l")
            _ = try await acceptance.keys.take(other, body: [1])
            for _ in 0..<3 { await expectNoPlace(for: other, by: acceptance) }
            #expect(try await acceptance.log.record(of: other.id) != nil)
        }
    }

    private func expectNoPlace(for turn: Turn, by acceptance: TurnAcceptance) async {
        do throws(AcceptanceError) {
            try await acceptance.accept(turn, limits: .test(0), now: turn.acceptedAt)
            Issue.record("it was accepted")
        } catch .tooManyUnfinished {
        } catch {
            Issue.record("\(error)")
        }
    }

    private func expectNothingLeft(of turn: Turn, _ acceptance: TurnAcceptance) async throws {
        let key = try #require(turn.idempotency?.key)
        #expect(try await acceptance.keys.look(key, of: turn.conversation.owner) == nil)
        #expect(try await acceptance.log.record(of: turn.id) == nil)
        #expect(try await acceptance.order.head(of: turn.conversation) == nil)
        #expect(try await acceptance.outstanding.count(of: turn.conversation.owner) == 0)
    }

    @Test func whatCannotBeTakenBackAtOnceIsTakenBackLater() async throws {
        try await withAcceptance { acceptance, inspector in
            let turn = Turn.sample(key: "k")
            let owner = turn.conversation.owner
            let redis = try await RedisAlone()
            defer { redis.end() }
            // Something else stands where the conversation's order should: it can be neither entered nor left.
            let order = "order:{\(turn.conversation.storageName)}"
            _ = try await redis.pool.send("SET", .text(order), "in the way")
            do throws(AcceptanceError) {
                try await acceptance.accept(turn, limits: .test(1), now: turn.acceptedAt)
                Issue.record("it was accepted")
            } catch {
                guard case .store = error else {
                    Issue.record("\(error)")
                    return
                }
            }
            #expect(try await acceptance.outstanding.count(of: owner) == 1)
            _ = try await redis.pool.send("DEL", .text(order))
            try await eventually { try await acceptance.outstanding.count(of: owner) == 0 }
            #expect(try await acceptance.log.record(of: turn.id) == nil)
            #expect(try await acceptance.keys.look("k", of: owner) == nil)
        }
    }

    private func refusal(
        of turn: Turn, by acceptance: TurnAcceptance, _ limits: OutstandingTurns.Limits
    ) async -> AcceptanceError? {
        do throws(AcceptanceError) {
            try await acceptance.accept(turn, limits: limits, now: turn.acceptedAt)
            return nil
        } catch {
            return error
        }
    }

    private func expectRefusal(of turn: Turn, by acceptance: TurnAcceptance) async {
        do throws(AcceptanceError) {
            try await acceptance.accept(turn, limits: .test(1), now: turn.acceptedAt)
            Issue.record("it was accepted")
        } catch .refused {
        } catch {
            Issue.record("\(error)")
        }
    }

    private func queued(_ inspector: QueueInspector) async throws -> Int {
        try await inspector.statistics(of: [Topology.streamQueue])[Topology.streamQueue]?.messages ?? 0
    }

    /// Turns out of the stream queue, in its order.
    private func received(_ count: Int, from consumer: RabbitConsumer) async throws -> [Turn] {
        var turns: [Turn] = []
        for await delivery in consumer.deliveries {
            turns.append(try JSONDecoder().decode(Turn.self, from: Data(delivery.body)))
            try await delivery.acknowledge()
            if turns.count == count { break }
        }
        return turns
    }

    private func withAcceptance(
        topology: Topology = .platform(responseShards: []),
        _ body: (TurnAcceptance, QueueInspector) async throws -> Void
    ) async throws {
        try await withAcceptance(topology: topology) { acceptance, inspector, _ in try await body(acceptance, inspector)
        }
    }

    /// - Parameter tap: where all goes to Redis through, on one connection.
    private func withAcceptance(
        topology: Topology = .platform(responseShards: []), tap: RedisTap? = nil,
        _ body: (TurnAcceptance, QueueInspector, RabbitConfiguration) async throws -> Void
    ) async throws {
        let endpoint = try await TestServers.redis()
        let broker = try RabbitConfiguration(uri: try await TestServers.rabbit().freshVirtualHost().uri)
        let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        var configuration = RedisConfiguration(
            host: endpoint.host, port: tap?.port ?? endpoint.port, password: endpoint.password)
        if tap != nil { configuration.poolSize = 1 }
        let redis = RedisPool(configuration: configuration, logger: silent)
        let publisher = RabbitPublisher(configuration: broker, topology: topology, logger: silent)
        let inspector = QueueInspector(configuration: broker, logger: silent)
        let services: [any Service] = [redis, publisher, inspector]
        let tasks = services.map { service in Task { try await service.run() } }
        defer { for task in tasks { task.cancel() } }
        try await redis.waitUntilConnected()
        try await eventually { publisher.isConnected && inspector.isConnected }
        try await body(
            TurnAcceptance(
                keys: IdempotencyKeys(pool: redis), outstanding: OutstandingTurns(pool: redis),
                log: TurnLog(pool: redis), order: ConversationOrder(pool: redis), publisher: publisher, logger: silent),
            inspector, broker)
    }

    /// The time limit of the suite ends a wait in vain.
    private func eventually(_ condition: () async throws -> Bool) async throws {
        while try await !condition() { try await Task.sleep(for: .milliseconds(5)) }
    }
}

/// A connection of its own to the Redis that all tests share.
private struct RedisAlone {
    let pool: RedisPool
    private let running: Task<Void, any Error>

    init() async throws {
        let endpoint = try await TestServers.redis()
        let pool = RedisPool(
            configuration: RedisConfiguration(host: endpoint.host, port: endpoint.port, password: endpoint.password),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        self.pool = pool
        running = Task { try await pool.run() }
        try await pool.waitUntilConnected()
    }

    func end() { running.cancel() }
}

extension OutstandingTurns.Limits {
    /// The tenant is all tests' own.
    fileprivate static func test(_ turnsPerUser: Int) -> Self {
        .init(turnsPerUser: turnsPerUser, turnsPerTenant: 1_000_000, bytesPerTenant: 1 << 40)
    }
}
