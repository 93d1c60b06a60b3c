import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import Synchronization
import TestServers
import Testing
import TurnProtocol

/// A shard's response queue that is full in bytes, on a real broker: no outcome is lost, and its turn ends when there is room.
@Suite(.timeLimit(.minutes(2))) struct FullResponseQueueTests {
    private static let queue = Topology.responseQueue(shard: "s0")
    private static let bounds = QueueBounds(messages: 1000, bytes: 64 << 10)

    @Test func anOutcomeWaitsForRoomAndIsThereOnce() async throws {
        let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let endpoint = try await TestServers.redis()
        let redis = RedisPool(
            configuration: RedisConfiguration(host: endpoint.host, port: endpoint.port, password: endpoint.password),
            logger: silent)
        let broker = try RabbitConfiguration(uri: await TestServers.rabbit().freshVirtualHost().uri)
        let topology = Topology(
            queues: Topology.platform(responseShards: ["s0"], bounds: Self.bounds).queues(named: [Self.queue]))
        let publisher = RabbitPublisher(configuration: broker, topology: topology, logger: silent)
        let running = [Task { try await redis.run() }, Task { try await publisher.run() }]
        defer { running.forEach { $0.cancel() } }
        try await redis.waitUntilConnected()
        try #require(await publisher.waitUntilConnected(timeout: .seconds(60)))

        let others = try await fill(publisher)
        // Far below its bound in messages.
        #expect((3...100).contains(others.count), "\(others.count)")

        let log = TurnLog(pool: redis)
        let turn = Turn.sample()
        let tries = Tries()
        let ending = TurnEnding(
            log: log, order: ConversationOrder(pool: redis), contexts: ContextCache(pool: redis),
            outstanding: OutstandingTurns(pool: redis), publisher: publisher
        ) { _ in "s0" }
        guard case .acquired(let lease, _) = try await log.acquire(turn, owner: "o", redelivered: false) else {
            Issue.record("not acquired")
            return
        }
        let ended = Task {
            var ended = try await EndingTurn(turn, under: lease, proposal: Self.outcome(turn))
            try await ending.end(&ended, patience: Patience(logger: tries.logger) { true })
        }
        try await until { tries.count >= 3 }
        // Its client is told nothing that is not kept.
        #expect(try await log.record(of: turn.id)?.hasEnded == false)

        let found = try await take(until: turn.id, from: broker, topology)
        try await ended.value
        #expect(try await log.record(of: turn.id)?.hasEnded == true)
        #expect(found.filter { $0 == turn.id.description }.count == 1)
        #expect(Set(found).isSuperset(of: others), "what was confirmed is there")
    }

    /// Publishes 8 KB at a time until the broker refuses it again and again.
    /// - Returns: the ids of what it has confirmed.
    private func fill(_ publisher: RabbitPublisher) async throws -> [String] {
        var confirmed: [String] = []
        var refusals = 0
        while refusals < 8, confirmed.count < 1000 {
            let id = "other-\(confirmed.count)"
            do throws(RabbitError) {
                try await publisher.publish(
                    OutgoingMessage(queue: Self.queue, body: [UInt8](repeating: 7, count: 8 << 10), id: id))
                confirmed.append(id)
                refusals = 0
            } catch .rejected {
                refusals += 1
            }
        }
        return confirmed
    }

    /// Takes and acknowledges messages until the turn's outcome has come and nothing more waits.
    private func take(until turn: TurnID, from broker: RabbitConfiguration, _ topology: Topology) async throws
        -> [String]
    {
        let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let consumer = RabbitConsumer(
            configuration: broker, queues: topology.queues, alsoDeclares: topology, prefetch: 1, logger: silent)
        let running = Task { try await consumer.run() }
        defer { running.cancel() }
        var ids: [String] = []
        for await delivery in consumer.deliveries {
            ids.append(delivery.id ?? "")
            try await delivery.acknowledge()
            if delivery.id == turn.description { break }
        }
        return ids
    }

    private static func outcome(_ turn: Turn) -> TurnOutcome {
        TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: turn.kind, status: .done,
            finishReason: .stop, error: nil, system: nil, message: turn.message, response: "", eventEnds: [],
            usage: .init(promptTokens: 1, completionTokens: 0), model: "m", seed: 1, acceptedAt: turn.acceptedAt,
            firstTokenAt: nil, endedAt: turn.acceptedAt + 1, attempts: 1)
    }

    private func until(_ condition: () -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while !condition() {
            try #require(ContinuousClock.now < deadline, "not within a minute")
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

/// How often a step was tried again, as its log says.
private final class Tries: Sendable {
    private let lines = Atomic(0)
    var count: Int { lines.load(ordering: .relaxed) }
    var logger: Logger { Logger(label: "test") { [self] _ in Handler(tries: self) } }

    private struct Handler: LogHandler {
        let tries: Tries
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { tries.lines.add(1, ordering: .relaxed) }
    }
}
