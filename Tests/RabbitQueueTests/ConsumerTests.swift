import Testing

@testable import RabbitQueue

@Suite struct ConsumerTests {
    private let queue = QueueDeclaration.work("chat_queue")

    /// A publisher, an inspector and a consumer on a virtual host of their own, all connected.
    private func stage(
        _ queue: QueueDeclaration, prefetch: Int,
        body: (RabbitPublisher, RabbitConsumer, QueueInspector) async throws -> Void
    ) async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, .deadLetters(), queue)
        let consumer = RabbitConsumer(broker, queue, prefetch: prefetch)
        let inspector = QueueInspector(configuration: broker, logger: silent)
        try await running(publisher, consumer, inspector) {
            try await connected(publisher)
            try await connected(consumer)
            try await connected(inspector)
            try await body(publisher, consumer, inspector)
        }
    }

    @Test func acknowledgedIsGoneAndUnacknowledgedComesBack() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, queue)
        let first = RabbitConsumer(broker, queue, prefetch: 10)
        try await running(publisher) {
            try await connected(publisher)
            var kept: Delivery?
            try await running(first) {
                try await connected(first)
                try await publisher.publish(1...2, to: "chat_queue")
                let taken = try await Taker(first).next(2)
                #expect(taken.map(\.id) == ["1", "2"])
                #expect(taken.allSatisfy { !$0.redelivered && $0.deliveryCount == 0 && $0.queue == "chat_queue" })
                try await taken[0].acknowledge()
                await #expect(throws: RabbitError.alreadySettled) { try await taken[0].acknowledge() }
                #expect(taken[1].isLive)
                kept = taken[1]
            }
            #expect(kept?.isLive == false)
            await #expect(throws: RabbitError.connectionLost) { try await kept?.acknowledge() }
            let second = RabbitConsumer(broker, queue, prefetch: 10)
            try await running(second) {
                let again = try await Taker(second).next()
                #expect(again.id == "2" && again.redelivered && again.deliveryCount == 1)
                try await again.acknowledge()
            }
        }
    }

    @Test func rejectedGoesToTheDeadLetterQueue() async throws {
        try await stage(queue, prefetch: 5) { publisher, consumer, inspector in
            try await publisher.publish(1...1, to: "chat_queue")
            try await Taker(consumer).next().reject(requeue: false)
            try await eventually("dead letter arrives") { try await inspector.count("dead_letter_queue") == 1 }
        }
    }

    @Test func requeuedComesAgainAndIsCounted() async throws {
        try await stage(queue, prefetch: 5) { publisher, consumer, _ in
            try await publisher.publish(1...1, to: "chat_queue")
            let taker = Taker(consumer)
            for count in 0..<4 {
                let delivery = try await taker.next()
                #expect(delivery.deliveryCount == count)
                #expect(delivery.redelivered == (count > 0))
                try await delivery.reject(requeue: count < 3)
            }
        }
    }

    @Test func noMoreThanThePrefetchIsOut() async throws {
        try await stage(queue, prefetch: 4) { publisher, consumer, inspector in
            try await publisher.publish(1...10, to: "chat_queue")
            // The broker counts what it gave out: the rest stays ready.
            try await eventually("prefetch is out") { try await inspector.count("chat_queue") == 6 }
            let taker = Taker(consumer)
            let taken = try await taker.next(4)
            #expect(try await inspector.count("chat_queue") == 6)
            try await taken[2].acknowledge()
            #expect(try await taker.next().id == "5")
        }
    }

    @Test func aBatchIsAcknowledgedTogetherAndOnlyIt() async throws {
        let broker = try await freshBroker()
        let publisher = RabbitPublisher(broker, queue)
        let consumer = RabbitConsumer(broker, queue, prefetch: 50)
        try await running(publisher) {
            try await connected(publisher)
            try await publisher.publish(1...50, to: "chat_queue")
            try await running(consumer) {
                let taken = try await Taker(consumer).next(50)
                let batch = taken.filter { $0.id != "20" && $0.id != "30" }
                #expect(await consumer.acknowledge(batch).isEmpty)
                #expect(await consumer.acknowledge(batch).isEmpty)
            }
            let next = RabbitConsumer(broker, queue, prefetch: 50)
            try await running(next) {
                let left = try await Taker(next).next(2)
                #expect(left.map(\.id) == ["20", "30"])
                #expect(await consumer.acknowledge(left).count == 2)
                #expect(await next.acknowledge(left).isEmpty)
            }
        }
    }

    @Test func pausedGivesEverythingBackAtOnceAndResumedGoesOn() async throws {
        try await stage(queue, prefetch: 2) { publisher, consumer, inspector in
            let taker = Taker(consumer)
            try await publisher.publish(1...4, to: "chat_queue")
            let held = try await taker.next(2)
            await consumer.pause()
            #expect(!consumer.isConnected && held.allSatisfy { !$0.isLive })
            await #expect(throws: RabbitError.connectionLost) { try await held[0].acknowledge() }
            try await eventually("no consumer, and everything waits in the queue") {
                let queue = try await inspector.statistics(of: ["chat_queue"])["chat_queue"]
                return queue?.consumers == 0 && queue?.messages == 4
            }
            consumer.resume()
            var rest: [String?] = []
            for _ in 1...4 {
                let delivery = try await taker.next()
                rest.append(delivery.id)
                try await delivery.acknowledge()
            }
            #expect(rest == ["1", "2", "3", "4"])
        }
    }

    /// What a settle marker relies on: whoever consumes after a pause sees the queue in its order.
    @Test func aPauseHandsTheQueueOverInItsOrder() async throws {
        let broker = try await freshBroker()
        let queue = QueueDeclaration.responses(shard: "s0")
        let publisher = RabbitPublisher(broker, queue)
        let consumers = (
            RabbitConsumer(broker, queue, prefetch: 3), RabbitConsumer(broker, queue, prefetch: 3)
        )
        try await running(publisher, consumers.0, consumers.1) {
            try await connected(publisher)
            try await connected(consumers.0)
            try await connected(consumers.1)
            try await publisher.publish(1...6, to: queue.name)
            let takers = (Taker(consumers.0), Taker(consumers.1))
            // Either may be the one active consumer.
            let first = Task { try await takers.0.next(3) }
            let second = Task { try await takers.1.next(3) }
            try await eventually("one of them has three") {
                let counts = (await consumers.0.core.held, await consumers.1.core.held)
                return counts.0 == 3 || counts.1 == 3
            }
            let isFirst = await consumers.0.core.held == 3
            await (isFirst ? consumers.0 : consumers.1).pause()
            let after = try await (isFirst ? second : first).value
            #expect(after.map(\.id) == ["1", "2", "3"])
            (isFirst ? first : second).cancel()
        }
    }

    @Test func stoppedGivesBackWhatNobodyTookAndStillAcknowledges() async throws {
        try await stage(queue, prefetch: 10) { publisher, consumer, inspector in
            try await publisher.publish(1...6, to: "chat_queue")
            let taken = try await Taker(consumer).next(2)
            try await eventually("all are out") { try await inspector.count("chat_queue") == 0 }
            await consumer.stopConsuming()
            try await eventually("untaken are back") { try await inspector.count("chat_queue") == 4 }
            for delivery in taken { try await delivery.acknowledge() }
            consumer.resume()
            for await _ in consumer.deliveries { Issue.record("a delivery after the end") }
            #expect(try await inspector.count("chat_queue") == 4)
        }
    }

    @Test func oneOfTwoConsumersIsActiveAndTheOtherTakesOver() async throws {
        let broker = try await freshBroker()
        let responses = QueueDeclaration.responses(shard: "s0")
        let publisher = RabbitPublisher(broker, responses)
        let first = RabbitConsumer(broker, responses, prefetch: 10)
        let second = RabbitConsumer(broker, responses, prefetch: 10)
        try await running(publisher) {
            try await connected(publisher)
            let run = Task { try await first.run() }
            try await connected(first)
            try await running(second) {
                try await connected(second)
                try await publisher.publish(1...10, to: "response_queue.s0")
                #expect(try await Taker(first).next(10).map(\.id) == (1...10).map { "\($0)" })
                run.cancel()
                try await run.value
                let left = try await Taker(second).next(10)
                #expect(Set(left.compactMap(\.id)).count == 10 && left.allSatisfy(\.redelivered))
            }
        }
    }

    @Test func aNodesQueueVanishesWithItsOwner() async throws {
        let broker = try await freshBroker()
        let inbox = QueueDeclaration.node(incarnation: "n1")
        let publisher = RabbitPublisher(broker)
        let node = RabbitConsumer(broker, inbox, prefetch: 10)
        try await running(publisher) {
            try await connected(publisher)
            try await running(node) {
                try await connected(node)
                try await publisher.publish(1...1, to: inbox.name)
                #expect(try await Taker(node).next().queue == inbox.name)
            }
            try await eventually("queue is gone") {
                do throws(RabbitError) {
                    try await publisher.publish(OutgoingMessage(queue: inbox.name, body: [], id: "2"))
                    return false
                } catch { return error == .unroutable(queue: inbox.name) }
            }
        }
    }

    @Test func aRetriedTurnIsDueAfterItsDelay() async throws {
        let broker = try await freshBroker()
        let ladder = RetryLadder()
        let publisher = RabbitPublisher(
            configuration: broker, topology: Topology(queues: [.deadLetters()] + ladder.declarations()), logger: silent)
        let consumer = RabbitConsumer(broker, ladder.declarations()[0], prefetch: 1)
        try await running(publisher, consumer) {
            try await connected(publisher)
            let began = ContinuousClock.now
            try await publisher.publishPatiently(
                OutgoingMessage(queue: ladder.queue(rung: 0), body: [9], id: "t", headers: ["attempt": "1"]))
            let delivery = try await Taker(consumer).next()
            #expect(delivery.id == "t" && delivery.body == [9] && delivery.headers["attempt"] == "1")
            // The broker's own floor, not this machine's speed.
            #expect(ContinuousClock.now - began >= .seconds(1))
            try await delivery.acknowledge()
        }
    }

    @Test func anOversizedDeliveryIsDeadLetteredUnread() async throws {
        let broker = try await freshBroker()
        var small = broker
        small.maximumBodyBytes = 1000
        let publisher = RabbitPublisher(broker, .deadLetters(), queue)
        let consumer = RabbitConsumer(small, queue, prefetch: 5)
        let inspector = QueueInspector(configuration: broker, logger: silent)
        try await running(publisher, consumer, inspector) {
            try await connected(publisher)
            try await connected(inspector)
            try await publisher.publishPatiently(
                OutgoingMessage(queue: "chat_queue", body: [UInt8](repeating: 0, count: 300_000), id: "big"))
            try await publisher.publish(1...1, to: "chat_queue")
            #expect(try await Taker(consumer).next().id == "1")
            try await eventually("dead letter arrives") { try await inspector.count("dead_letter_queue") == 1 }
        }
    }

    /// Hundreds who ask at once leave room for the one who asks whether the broker lives.
    @Test func manyWhoAskTheSameShareALook() async throws {
        try await stage(queue, prefetch: 1) { publisher, _, inspector in
            try await publisher.publish(1...3, to: "chat_queue")
            await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<500 { group.addTask { (try? await inspector.count("chat_queue")) != nil } }
                for _ in 0..<10 { group.addTask { (try? await inspector.ping()) != nil } }
                for await isAnswered in group { #expect(isAnswered) }
            }
            try await inspector.ping()
        }
    }

    @Test func theInspectorLeavesOutWhatIsMissingOrExclusive() async throws {
        let broker = try await freshBroker()
        let inbox = QueueDeclaration.node(incarnation: "n1")
        try await stage(queue, prefetch: 1) { publisher, _, inspector in
            try await publisher.publish(1...3, to: "chat_queue")
            try await eventually("one is out") { try await inspector.count("chat_queue") == 2 }
            let statistics = try await inspector.statistics(of: ["none", "chat_queue", "nothing", "dead_letter_queue"])
            #expect(Set(statistics.keys) == ["chat_queue", "dead_letter_queue"])
            #expect(statistics["chat_queue"]?.consumers == 1)
            try await inspector.ping()
            // Many at once do not take each other's answers.
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<40 {
                    group.addTask {
                        let name = number % 2 == 0 ? "chat_queue" : "none"
                        let answer = try? await inspector.statistics(of: [name])
                        #expect(answer?.count == (number % 2 == 0 ? 1 : 0))
                    }
                }
            }
        }
        let node = RabbitConsumer(broker, inbox, prefetch: 1)
        let inspector = QueueInspector(configuration: broker, logger: silent)
        try await running(node, inspector) {
            try await connected(node)
            try await connected(inspector)
            #expect(try await inspector.statistics(of: [inbox.name]).isEmpty)
            try await inspector.ping()
        }
    }
}

extension ConsumerCore {
    /// Deliveries that are out.
    var held: Int { unacknowledged.count }
}
