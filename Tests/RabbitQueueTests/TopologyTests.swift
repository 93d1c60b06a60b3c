import SeededRandom
import Testing

@testable import RabbitQueue

@Suite struct TopologyTests {
    private let queues = Dictionary(
        uniqueKeysWithValues: Topology.platform(
            responseShards: ["s0", "s1"], bounds: QueueBounds(messages: 10, bytes: 4096)
        ).queues.map { ($0.name, $0) })

    @Test func everySharedQueueIsDurableQuorumAndBounded() {
        #expect(queues.count == 1 + 4 + (1 + 7) + 2)
        for queue in queues.values {
            #expect(queue.durable && !queue.exclusive)
            #expect(queue.arguments["x-queue-type"] == .string("quorum"))
            #expect(queue.arguments["x-overflow"] == .string("reject-publish"))
            #expect(queue.arguments["x-max-length"] != nil)
            #expect(queue.bounds.bytes == (isPassed(queue.name) ? 1024 : 4096))
        }
        #expect(queues["dead_letter_queue"]?.bounds.messages == 100)
        let node = QueueDeclaration.node(incarnation: "n1")
        #expect(node.bounds == QueueBounds(messages: 1024, bytes: 64 << 20))
    }

    private func isPassed(_ queue: String) -> Bool { queue.hasPrefix("retry.") || queue == "job_queue" }

    /// Version 4 gives a quorum queue without a limit one of 20 returns, and then drops.
    @Test(arguments: ["4.0.0", "4.1.2-rc.1", "10.0"])
    func laterBrokersAreToldThatNoNumberOfReturnsIsTooLarge(version: String) {
        for queue in queues.values {
            let limit = queue.formed(for: BrokerVersion(version)).arguments["x-delivery-limit"]
            #expect(limit == .integer(queue.arguments["x-delivery-limit"] == nil ? -1 : 50))
        }
        for name in ["response_queue.s0", "dead_letter_queue", "retry.1s", "retry.64s"] {
            #expect(queues[name]?.formed(for: BrokerVersion(version)).arguments["x-delivery-limit"] == .integer(-1))
        }
        let node = QueueDeclaration.node(incarnation: "n1")
        #expect(node.formed(for: BrokerVersion(version)) == node)
        #expect(QueueUpgrade.movingQueue.formed(for: BrokerVersion(version)) == QueueUpgrade.movingQueue)
    }

    @Test(arguments: ["3.10.8", "3.13.7", "", "four", "99999999999999999999.1", nil])
    func earlierBrokersAreNot(version: String?) {
        for queue in queues.values { #expect(queue.formed(for: BrokerVersion(version)) == queue) }
    }

    @Test func turnsDieIntoTheDeadLetterQueueAndOutcomesNever() {
        for name in ["stream_queue", "chat_queue", "batch_queue", "job_queue", "retry.due"] {
            #expect(queues[name]?.arguments["x-dead-letter-routing-key"] == .string("dead_letter_queue"))
            #expect(queues[name]?.arguments["x-dead-letter-strategy"] == .string("at-least-once"))
            #expect(queues[name]?.arguments["x-delivery-limit"] == .integer(50))
        }
        for name in ["response_queue.s0", "dead_letter_queue"] {
            #expect(queues[name]?.arguments["x-dead-letter-routing-key"] == nil)
            #expect(queues[name]?.arguments["x-delivery-limit"] == nil)
        }
        #expect(queues["response_queue.s1"]?.arguments["x-single-active-consumer"] == .flag(true))
    }

    @Test func rungsLeadToTheDueQueue() {
        let rung = queues["retry.16s"]
        #expect(rung?.arguments["x-message-ttl"] == .integer(16_000))
        #expect(rung?.arguments["x-dead-letter-routing-key"] == .string("retry.due"))
    }

    @Test func retriesClimbTheLadderWithJitter() {
        let ladder = RetryLadder()
        var random = SeededGenerator(seed: 1)
        func rungs(_ attempt: Int) -> Set<String> {
            Set((0..<100).map { _ in ladder.queue(attempt: attempt, using: &random) })
        }
        #expect(rungs(0) == ["retry.1s"])
        #expect(rungs(3) == ["retry.4s", "retry.8s"])
        #expect(rungs(1000) == ["retry.32s", "retry.64s"])
        #expect(rungs(-1) == ["retry.1s"])
    }
}
