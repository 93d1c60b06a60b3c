import ServiceLifecycle
import TestServers
import Testing

@testable import RabbitQueue

/// What happens when connections and brokers die.
@Suite struct FailureTests {
    private let queue = QueueDeclaration.work("chat_queue")

    @Test func whatADeadConnectionHeldComesAgainOnTheNext() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, queue)
        let consumer = RabbitConsumer(broker, queue, prefetch: 10)
        try await running(publisher, consumer) {
            try await connected(publisher)
            try await connected(consumer)
            try await publisher.publish(1...3, to: "chat_queue")
            let taker = Taker(consumer)
            let taken = try await taker.next()
            #expect(taken.id == "1")
            await consumer.core.breakConnection()
            #expect(!taken.isLive)
            await #expect(throws: RabbitError.connectionLost) { try await taken.acknowledge() }
            #expect(await consumer.acknowledge([taken]).count == 1)
            // The two that nobody had taken come once, not twice: those of the dead channel were taken out.
            let again = try await taker.next(3)
            #expect(Set(again.compactMap(\.id)) == ["1", "2", "3"])
            #expect(again.allSatisfy { $0.redelivered && $0.deliveryCount == 1 && $0.isLive })
            #expect(await consumer.acknowledge(again).isEmpty)
        }
    }

    @Test func publishesInFlightEndWithTheirConnection() async throws {
        let server = try await TestServers.startRabbit()
        var configuration = try RabbitConfiguration(uri: server.endpoint.uri)
        configuration.heartbeat = .seconds(1)
        let publisher = RabbitPublisher(configuration, queue)
        try await running(publisher) {
            try await connected(publisher)
            try await server.pause()
            // Nobody answers; the silence ends the connection long before the publish's own time is up.
            await #expect(throws: RabbitError.connectionLost) {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [1], id: "1"))
            }
            #expect(!publisher.isConnected)
            try await server.resume()
            try await connected(publisher)
            try await publisher.publish(1...1, to: "chat_queue")
        }
        try await server.stop()
    }

    @Test func anUnansweredPublishTimesOutAndOthersAreConfirmedLater() async throws {
        let server = try await TestServers.startRabbit()
        var configuration = try RabbitConfiguration(uri: server.endpoint.uri)
        configuration.heartbeat = .seconds(60)
        configuration.confirmTimeout = .milliseconds(200)
        let publisher = RabbitPublisher(configuration, queue)
        try await running(publisher) {
            try await connected(publisher)
            try await server.pause()
            await #expect(throws: RabbitError.timedOut) {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [1], id: "1"))
            }
            let cancelled = Task {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [1], id: "2"))
            }
            cancelled.cancel()
            #expect(await cancelled.result.failure as? RabbitError == .cancelled)
            try await server.resume()
            try await eventually("confirms come again") {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [1], id: "3"))
                return true
            }
        }
        try await server.stop()
    }

    @Test func aBrokersRestartLosesNothingAndEveryoneComesBack() async throws {
        let server = try await TestServers.startRabbit()
        let configuration = try RabbitConfiguration(uri: server.endpoint.uri)
        let topology = Topology.platform(responseShards: ["s0"])
        let publisher = RabbitPublisher(configuration: configuration, topology: topology, logger: silent)
        let consumer = RabbitConsumer(configuration, queue, prefetch: 10)
        let inspector = QueueInspector(configuration: configuration, logger: silent)
        let node = RabbitConsumer(configuration, .node(incarnation: "n1"), prefetch: 10)
        try await running(publisher, consumer, inspector, node) {
            try await connected(publisher)
            try await connected(consumer)
            try await publisher.publish(1...20, to: "chat_queue")
            let taker = Taker(consumer)
            let held = try await taker.next(10)
            try await server.kill()
            try await eventually("noticed") { !publisher.isConnected && !consumer.isConnected }
            await #expect(throws: RabbitError.unavailable) { try await publisher.publish(21...21, to: "chat_queue") }
            await #expect(throws: RabbitError.self) { try await inspector.ping() }
            try await eventually("failed connections open the breaker, though nobody publishes") {
                publisher.breaker.state == .open
            }
            #expect(held.allSatisfy { !$0.isLive })
            try await server.restart()
            try await connected(publisher)
            #expect(publisher.breaker.state == .closed)
            try await eventually("publishes are confirmed again") {
                try await publisher.publish(21...21, to: "chat_queue")
                return true
            }
            var seen: Set<String> = []
            while seen.count < 21 {
                let delivery = try await taker.next()
                seen.insert(delivery.id ?? "")
                try await delivery.acknowledge()
            }
            #expect(seen == Set((1...21).map(String.init)))
            // A node's queue is declared anew by its owner.
            try await eventually("node queue is back") {
                try await publisher.publish(1...1, to: "node.n1")
                return true
            }
            try await connected(inspector)
            try await inspector.ping()
        }
        try await server.stop()
    }

    /// Nothing but heartbeats keeps an idle connection: with a period of one second the broker gives a silent client up after two.
    @Test func anIdleConnectionLivesOnItsHeartbeats() async throws {
        var configuration = try await freshBroker()
        configuration.heartbeat = .seconds(1)
        let publisher = RabbitPublisher(configuration, queue)
        try await running(publisher) {
            try await connected(publisher)
            let first = await publisher.core.connectionIdentity()
            try await eventually("heartbeats both ways") {
                let beats = await publisher.core.heartbeats()
                return beats.received >= 8 && beats.sent >= 8
            }
            #expect(await publisher.core.connectionIdentity() == first)
            try await publisher.publish(1...1, to: "chat_queue")
        }
    }

    @Test func aQueueThatIsOtherwiseIsTheBrokersWordAndOthersGoOn() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, queue)
        try await running(publisher) {
            try await connected(publisher)
            // Not a bound: a mistake, which no other form of the queue would mend.
            var arguments = queue.arguments
            arguments["x-single-active-consumer"] = .flag(true)
            let other = RabbitPublisher(
                broker, QueueDeclaration(name: "chat_queue", durable: true, exclusive: false, arguments: arguments))
            try await running(other) {
                try await eventually("declaration refused") {
                    guard case .server(code: 406, let text) = other.lastFailure else { return false }
                    return text.contains("chat_queue") && text.contains("x-single-active-consumer")
                }
                #expect(!other.isConnected)
            }
            try await publisher.publish(1...1, to: "chat_queue")
        }
    }

    @Test func aDeletedQueueIsDeclaredAnewAndConsumed() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, queue)
        let consumer = RabbitConsumer(broker, queue, prefetch: 10)
        try await running(publisher, consumer) {
            try await connected(publisher)
            try await connected(consumer)
            try await publisher.core.delete("chat_queue")
            try await eventually("the queue is back") {
                try await publisher.publish(1...1, to: "chat_queue")
                return true
            }
            #expect(try await Taker(consumer).next().id == "1")
        }
    }

    @Test func gracefulShutdownWaitsForTheConfirmsInFlight() async throws {
        let publisher = RabbitPublisher(try await freshBroker(), queue)
        let group = ServiceGroup(services: [publisher], logger: silent)
        let run = Task { try await group.run() }
        try await connected(publisher)
        try await publisher.publish(1...1, to: "chat_queue")
        let publishes = (0..<50).map { number in
            Task {
                try await publisher.publish(OutgoingMessage(queue: "chat_queue", body: [1], id: "\(number)"))
            }
        }
        try await publishes[0].value
        await group.triggerGracefulShutdown()
        for publish in publishes {
            // Either it was in time, and is confirmed, or it was never sent.
            if let failure = await publish.result.failure { #expect(failure as? RabbitError == .unavailable) }
        }
        try await run.value
        await #expect(throws: RabbitError.unavailable) { try await publisher.publish(1...1, to: "chat_queue") }
    }
}

extension ConsumerCore {
    func breakConnection() { connection?.end(.connectionLost) }
}

extension PublisherCore {
    func connectionIdentity() -> ObjectIdentifier? { connection.map(ObjectIdentifier.init) }
    func delete(_ queue: String) async throws { _ = try await connection?.call(.queueDelete(name: queue)) }
    func heartbeats() -> (received: Int, sent: Int) {
        (connection?.heartbeatsReceived ?? 0, connection?.heartbeatsSent ?? 0)
    }
}

extension Result {
    var failure: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}
