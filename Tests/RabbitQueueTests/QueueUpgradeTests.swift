import Foundation
import ServiceKit
import Synchronization
import Testing

@testable import RabbitQueue

/// Queues of an earlier version, on a real broker.
@Suite(.serialized) struct QueueUpgradeTests {
    private static let present = topology(QueueBounds())
    /// As before there were bounds in bytes.
    private static let earlier = present.queues.map { queue in
        var arguments = queue.arguments
        arguments["x-max-length-bytes"] = nil
        return QueueDeclaration(name: queue.name, durable: true, exclusive: false, arguments: arguments)
    }
    private static let names = ["chat_queue", "response_queue.s0", "dead_letter_queue"]

    /// One queue of each kind.
    private static func topology(_ bounds: QueueBounds) -> Topology {
        Topology(
            queues: Topology.platform(responseShards: ["s0"], bounds: bounds)
                .queues(named: ["chat_queue", "response_queue.s0", "dead_letter_queue", "retry.due", "retry.64s"]))
    }

    /// A virtual host with earlier queues, `count` messages in each of `names`.
    private func earlierBroker(_ count: Int) async throws -> RabbitConfiguration {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(
            configuration: broker, topology: Topology(queues: Self.earlier), logger: silent)
        try await running(publisher) {
            try await connected(publisher)
            for name in Self.names { try await publisher.publish(1...count, to: name) }
        }
        return broker
    }

    private func isPresent(_ broker: RabbitConfiguration) async throws {
        // As another version would: an upgrade would make it so.
        let probe = UpgradeProbe(broker)
        for queue in Self.present.queues {
            #expect(await probe.declares(queue), "\(queue.name) has its present form")
        }
        await probe.close()
    }

    /// The ids in a queue, in its order.
    private func ids(_ queue: String, of broker: RabbitConfiguration, atLeast count: Int) async throws -> [String] {
        let consumer = RabbitConsumer(
            configuration: broker, queues: Self.present.queues(named: [queue]), alsoDeclares: Self.present,
            prefetch: 1000, logger: silent)
        var taken: [Delivery] = []
        try await running(consumer) { taken = try await Taker(consumer).next(count) }
        return taken.compactMap(\.id)
    }

    @Test func everyMessageIsThereInItsOrderAndManyMayBeginAtOnce() async throws {
        let broker = try await earlierBroker(40)
        let publishers = (0..<4).map { _ in
            RabbitPublisher(configuration: broker, topology: Self.present, logger: silent)
        }
        try await running(publishers[0], publishers[1], publishers[2], publishers[3]) {
            for publisher in publishers { try await connected(publisher) }
            // Whoever is connected publishes behind what was there.
            for name in Self.names { try await publishers[3].publish(41...41, to: name) }
            try await isPresent(broker)
        }
        for name in Self.names {
            let found = try await ids(name, of: broker, atLeast: 41)
            #expect(found == (1...41).map { "\($0)" }, "\(name)")
        }
    }

    @Test func bodyIdHeadersExpirationAndDeathComeAlong() async throws {
        let broker = try await freshBroker()
        let earlier = RabbitPublisher(
            configuration: broker, topology: Topology(queues: Self.earlier), logger: silent)
        let body = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        try await running(earlier) {
            try await connected(earlier)
            try await earlier.publishPatiently(
                OutgoingMessage(
                    queue: "response_queue.s0", body: body, id: "a", headers: ["marker": "1", "ä": "ö"]))
            try await earlier.publishPatiently(
                OutgoingMessage(queue: "chat_queue", body: [1], id: "dies", expiration: .zero))
            try await earlier.publishPatiently(
                OutgoingMessage(queue: "chat_queue", body: [2], id: "b", expiration: .seconds(5)))
            let inspector = QueueInspector(configuration: broker, logger: silent)
            try await running(inspector) {
                try await eventually("one died") { try await inspector.count("dead_letter_queue") == 1 }
            }
        }
        let present = RabbitPublisher(configuration: broker, topology: Self.present, logger: silent)
        let consumer = RabbitConsumer(
            configuration: broker, queues: Self.present.queues(named: ["response_queue.s0", "dead_letter_queue"]),
            alsoDeclares: Self.present, prefetch: 10, logger: silent)
        try await running(present, consumer) {
            try await connected(present)
            let taken = try await Taker(consumer).next(2)
            let outcome = try #require(taken.first { $0.id == "a" })
            #expect(outcome.body == body && outcome.headers == ["marker": "1", "ä": "ö"])
            #expect(taken.first { $0.id == "dies" }?.death == Death(queue: "chat_queue", reason: "expired"))
            for delivery in taken { try await delivery.acknowledge() }
            // It still has a time to live: nobody takes it, and it dies.
            #expect(try await Taker(consumer).next().id == "b")
        }
    }

    /// Whoever dies in the middle, at whatever step: the next one finishes, and nothing is missing.
    @Test(arguments: QueueUpgrade.Step.allCases, [1, 5])
    func aDeathInTheMiddleLosesNothing(step: QueueUpgrade.Step, time: Int) async throws {
        let broker = try await earlierBroker(20)
        let reachedBefore = Noted()
        let dying = QueueUpgrade(
            Self.present.queues, configuration: broker, logger: silent, isWanted: { true },
            onStep: { reached throws(RabbitError) in
                guard reached == step else { return }
                reachedBefore.add("\(reachedBefore.all.count)")
                if reachedBefore.all.count >= time { throw .connectionLost }
            })
        try? await dying.run()
        let publisher = RabbitPublisher(configuration: broker, topology: Self.present, logger: silent)
        try await running(publisher) {
            try await connected(publisher)
            try await isPresent(broker)
        }
        for name in Self.names {
            let found = try await ids(name, of: broker, atLeast: 20)
            #expect(Set(found) == Set((1...20).map { "\($0)" }), "\(name)")
        }
    }

    @Test func aQueueThatIsConsumedStaysAsItIsAndIsUsed() async throws {
        let broker = try await earlierBroker(3)
        let old = RabbitConsumer(
            configuration: broker, queues: Self.earlier.filter { $0.name == "chat_queue" }, prefetch: 10, logger: silent
        )
        let oldWorker = RabbitConsumer(
            configuration: broker, queues: Self.earlier.filter { $0.name == "response_queue.s0" }, prefetch: 10,
            logger: silent)
        let publisher = RabbitPublisher(configuration: broker, topology: Self.present, logger: silent)
        try await running(old, oldWorker) {
            try await connected(old)
            try await connected(oldWorker)
            let held = try await Taker(old).next(3)
            let outcomes = try await Taker(oldWorker).next(3)
            try await running(publisher) {
                try await connected(publisher)
                try await publisher.publish(4...4, to: "chat_queue")
                try await publisher.publish(4...4, to: "response_queue.s0")
                for delivery in held + outcomes { #expect(delivery.isLive) }
                #expect(try await Taker(old).next().id == "4")
                #expect(try await Taker(oldWorker).next().id == "4")
            }
        }
        // Everybody has left: now it is done, and what was not acknowledged is there.
        let turns = try await ids("chat_queue", of: broker, atLeast: 4)
        #expect(Set(turns) == ["1", "2", "3", "4"])
        let settled = try await ids("response_queue.s0", of: broker, atLeast: 4)
        #expect(Set(settled) == ["1", "2", "3", "4"])
        try await isPresent(broker)
    }

    /// Thirty messages of 51 bytes together, in a queue that is to hold less of either.
    @Test(arguments: [QueueBounds(messages: 20), QueueBounds(bytes: 40)])
    func whatDoesNotFitThePresentBoundsStaysWhereItIs(bounds: QueueBounds) async throws {
        let broker = try await earlierBroker(30)
        let small = Self.topology(bounds)
        let publisher = RabbitPublisher(configuration: broker, topology: small, logger: silent)
        let inspector = QueueInspector(configuration: broker, logger: silent)
        try await running(publisher, inspector) {
            try await connected(publisher)
            try await connected(inspector)
            try await eventually("all are back") {
                let counts = try await inspector.statistics(of: ["chat_queue", "response_queue.s0", "upgrade.moving"])
                return counts["chat_queue"]?.messages == 30 && counts["response_queue.s0"]?.messages == 30
                    && counts["upgrade.moving"]?.messages == 0
            }
        }
        let probe = UpgradeProbe(broker)
        for queue in small.queues(named: ["chat_queue", "response_queue.s0"]) {
            #expect(await !probe.declares(queue), "\(queue.name) has its earlier bounds")
        }
        await probe.close()
    }
}

private final class Noted: Sendable {
    private let ids = Mutex<Set<String>>([])
    var all: Set<String> { ids.withLock { $0 } }
    func add(_ id: String) { ids.withLock { _ = $0.insert(id) } }
}

/// Declares on a connection of its own without upgrading anything.
private actor UpgradeProbe {
    nonisolated let executor = SocketExecutor(name: "probe")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private let broker: RabbitConfiguration
    private var connection: Connection?

    init(_ broker: RabbitConfiguration) { self.broker = broker }
    deinit { executor.shutDown() }

    func declares(_ queue: QueueDeclaration) async -> Bool {
        do {
            if connection == nil {
                connection = try await Connection.open(broker, role: "probe", executor: executor, logger: silent) { _ in
                }
            }
            _ = try await connection?.declare(queue)
            return true
        } catch {
            try? await connection?.openChannel()
            return false
        }
    }

    func close() async { await connection?.close() }
}
