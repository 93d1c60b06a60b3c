import Testing

@testable import RabbitQueue

/// What is declared follows from how the broker greets.
@Suite struct BrokerVersionTests {
    @Test(arguments: [("4.1.3", "-1"), ("3.10.8", nil)] as [(String, String?)])
    func theGreetingDecidesTheDeliveryLimit(version: String, limit: String?) async throws {
        let broker = try #require(ScriptedBroker(version: version))
        let publisher = RabbitPublisher(
            configuration: try RabbitConfiguration(uri: "amqp://127.0.0.1:\(broker.port)"),
            topology: .platform(responseShards: ["s0"]), logger: silent)
        try await running(publisher) { try await connected(publisher) }
        broker.close()
        for queue in Topology.platform(responseShards: ["s0"]).queues {
            let declared = try #require(broker.declared[queue.name])
            let expected = queue.arguments["x-delivery-limit"] == nil ? limit : "50"
            #expect(declared["x-delivery-limit"] == expected, "\(queue.name)")
        }
    }

    /// Why earlier brokers are not told -1: they take it for a limit that the first return exceeds, and drop the message.
    @Test func anEarlierBrokerDropsAtTheFirstReturnUnderANegativeLimit() async throws {
        let broker = try await freshBroker()
        let negative = QueueDeclaration.deadLetters().formed(for: BrokerVersion(major: 4))
        let publisher = RabbitPublisher(broker, negative)
        let consumer = RabbitConsumer(broker, negative, prefetch: 1)
        try await running(publisher, consumer) {
            try await connected(publisher)
            try await publisher.publish(1...2, to: negative.name)
            let taker = Taker(consumer)
            try await taker.next().reject(requeue: true)
            #expect(try await taker.next().id == "2")
        }
    }
}
