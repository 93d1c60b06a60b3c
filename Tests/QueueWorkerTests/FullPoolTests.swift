import ChatCore
import Foundation
import FullWorkPool
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TestServers
import Testing
import TurnProtocol

@testable import queue_worker

/// What the worker makes of a pool for long computation that is full, on real servers.
@Suite(.timeLimit(.minutes(2))) struct FullPoolTests {
    private let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// More than is read in place.
    private func body(_ message: some Encodable) throws -> [UInt8] {
        Array(try JSONEncoder().encode(message)) + Array(repeating: UInt8(ascii: " "), count: FullPool.large)
    }

    @Test func anOutcomeThatCannotBeReadYetIsSettledLaterAndTheMarkerBehindItWaits() async throws {
        let broker = try RabbitConfiguration(uri: try await TestServers.rabbit().freshVirtualHost().uri)
        let uris = try await TestServers.postgres().freshDatabases(count: 1)
        let database = try ShardedDatabase(
            configuration: DatabaseConfiguration(shards: uris.joined(), poolSize: 2), logger: silent)
        let redis = try await redis()
        let shard = database.shards[0]
        let topology = Topology.platform(responseShards: [shard.name])
        let publisher = RabbitPublisher(configuration: broker, topology: topology, logger: silent)
        let consumer = RabbitConsumer(
            configuration: broker, queues: topology.queues(named: [Topology.responseQueue(shard: shard.name)]),
            alsoDeclares: topology, prefetch: 8, logger: silent)
        let services: [any Service] = [redis, database, publisher]
        let running = services.map { service in Task { try await service.run() } }
        defer { for task in running { task.cancel() } }
        try await redis.waitUntilConnected()
        try await Migrations.migrate(database)
        try await eventually { publisher.isConnected }

        let (turn, marker) = (Turn.sample(), SettleMarker(name: "\(UInt64.random(in: 0 ... .max))"))
        let queue = Topology.responseQueue(shard: shard.name)
        for message in [
            OutgoingMessage(queue: queue, body: try body(TurnOutcome(of: turn)), id: "\(turn.id)"),
            OutgoingMessage(
                queue: queue, body: Array(try JSONEncoder().encode(marker)), id: marker.name,
                headers: [SettleMarker.header: "1"]),
        ] {
            // A quorum queue may refuse a channel's first publish while its leader is slow to answer.
            try await eventually {
                do { try await publisher.publish(message) } catch RabbitError.rejected { return false }
                return true
            }
        }
        let (markers, conversations) = (Markers(pool: redis), ConversationRepository(database: database))
        let owner = turn.conversation.owner
        let metrics = SettleMetrics(shard: shard.name, clock: RedisClock(pool: redis))
        let silent = silent
        let (isEarly, tries) = try await FullPool().delaying { pool, logger in
            let settler = Settler(
                shard: shard, consumer: consumer, repository: SettlementRepository(database: database),
                markers: markers, publisher: publisher, batch: 8, metrics: metrics, logger: logger, pool: pool)
            let settling = Task { try await settler.run() }
            defer { settling.cancel() }
            var isEarly = false
            while try await conversations.turn(turn.id, tenant: owner.tenant, user: owner.user) == nil {
                isEarly = try await markers.exists(marker.name) || isEarly
                try await Task.sleep(for: .milliseconds(5))
            }
            // Once, from its first delivery.
            try await eventually { try await markers.exists(marker.name) }
            return isEarly
        }
        #expect(tries >= 3 && !isEarly)
        let inspector = QueueInspector(configuration: broker, logger: silent)
        let inspecting = Task { try await inspector.run() }
        defer { inspecting.cancel() }
        try await eventually { inspector.isConnected }
        #expect(try await inspector.statistics(of: [queue])[queue]?.messages == 0)
        #expect(try await inspector.statistics(of: [Topology.deadLetterQueue])[Topology.deadLetterQueue]?.messages == 0)
    }

    @Test func aDeadLetterThatCannotBeReadYetStaysWhereItIs() async throws {
        let broker = try RabbitConfiguration(uri: try await TestServers.rabbit().freshVirtualHost().uri)
        let topology = Topology.platform(responseShards: [])
        let publisher = RabbitPublisher(configuration: broker, topology: topology, logger: silent)
        let consumer = RabbitConsumer(
            configuration: broker, queues: topology.queues(named: [Topology.deadLetterQueue]), alsoDeclares: topology,
            prefetch: 4, logger: silent)
        let running = [Task { try await publisher.run() }, Task { try await consumer.run() }]
        defer { for task in running { task.cancel() } }
        try await eventually { publisher.isConnected && consumer.isConnected }
        let turn = Turn.sample()
        let message = OutgoingMessage(queue: Topology.deadLetterQueue, body: try body(turn), id: "\(turn.id)")
        try await eventually {
            do { try await publisher.publish(message) } catch RabbitError.rejected { return false }
            return true
        }
        var deliveries = consumer.deliveries.makeAsyncIterator()
        let delivery = try #require(await deliveries.next())
        let (letter, tries) = try await FullPool().delaying { pool, logger in
            try await DeadLetter.read(delivery, on: pool, logger)
        }
        #expect(letter.content == .turn(turn) && tries >= 3)
        try await delivery.acknowledge()
    }

    private func redis() async throws -> RedisPool {
        let endpoint = try await TestServers.redis()
        return RedisPool(
            configuration: RedisConfiguration(host: endpoint.host, port: endpoint.port, password: endpoint.password),
            logger: silent)
    }

    /// The time limit of the suite ends a wait in vain.
    private func eventually(_ condition: () async throws -> Bool) async throws {
        while try await !condition() { try await Task.sleep(for: .milliseconds(5)) }
    }
}

extension Turn {
    fileprivate static func sample() -> Turn {
        var random = SystemRandomNumberGenerator()
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let id = TurnID(milliseconds: UInt64(now), using: &random)
        return Turn(
            id: id,
            conversation: ConversationKey(
                owner: UserKey(tenant: "acme", user: "user-\(id)"), id: ConversationID(firstTurn: id)),
            beginsConversation: true, kind: .batch, message: "Hello", system: nil, context: [], model: nil,
            sampling: Sampling(maxTokens: 16, seed: 1), acceptedAt: now, deadline: now + 600_000)
    }
}

extension TurnOutcome {
    fileprivate init(of turn: Turn) {
        self.init(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: turn.kind, status: .done,
            finishReason: .stop, error: nil, system: nil, message: turn.message, response: "Hi", eventEnds: [2],
            usage: .init(promptTokens: 3, completionTokens: 1), model: "m", seed: 1, acceptedAt: turn.acceptedAt,
            firstTokenAt: nil, endedAt: turn.acceptedAt + 5, attempts: 1)
    }
}
