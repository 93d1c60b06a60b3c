import Testing

@testable import RabbitQueue

@Suite struct TopologyTests {
    private let queues = Dictionary(
        uniqueKeysWithValues: Topology.platform(responseShards: ["s0", "s1"], maximumLength: 10).queues.map {
            ($0.name, $0)
        })

    @Test func everySharedQueueIsDurableQuorumAndBounded() {
        #expect(queues.count == 1 + 4 + 3 * 7 + 2)
        for queue in queues.values {
            #expect(queue.durable && !queue.exclusive)
            #expect(queue.arguments["x-queue-type"] == .string("quorum"))
            #expect(queue.arguments["x-overflow"] == .string("reject-publish"))
            #expect(queue.arguments["x-max-length"] != nil)
        }
    }

    @Test func turnsDieIntoTheDeadLetterQueueAndOutcomesNever() {
        for name in ["stream_queue", "chat_queue", "batch_queue", "job_queue"] {
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

    @Test func rungsReturnToTheirTurnQueue() {
        let rung = queues["retry.chat_queue.16s"]
        #expect(rung?.arguments["x-message-ttl"] == .integer(16_000))
        #expect(rung?.arguments["x-dead-letter-routing-key"] == .string("chat_queue"))
    }

    @Test func retriesClimbTheLadderWithJitter() {
        let ladder = RetryLadder(turnQueue: "chat_queue")
        var random = SplitMix(state: 1)
        func rungs(_ attempt: Int) -> Set<String> {
            Set((0..<100).map { _ in ladder.queue(attempt: attempt, using: &random) })
        }
        #expect(rungs(0) == ["retry.chat_queue.1s"])
        #expect(rungs(3) == ["retry.chat_queue.4s", "retry.chat_queue.8s"])
        #expect(rungs(1000) == ["retry.chat_queue.32s", "retry.chat_queue.64s"])
        #expect(rungs(-1) == ["retry.chat_queue.1s"])
    }
}
