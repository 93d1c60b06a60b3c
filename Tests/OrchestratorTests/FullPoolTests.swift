import ChatCore
import Foundation
import FullWorkPool
import Logging
import RabbitQueue
import RedisStore
import SeededRandom
import ServiceKit
import TestServers
import Testing
import TurnProtocol

@testable import orchestrator

/// What holders of turns make of a pool for long computation that is full.
@Suite(.timeLimit(.minutes(2))) struct FullPoolTests {
    @Test func aTurnThatCannotBeReadYetStaysWithItsConsumer() async throws {
        let broker = try RabbitConfiguration(uri: try await TestServers.rabbit().freshVirtualHost().uri)
        let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let topology = Topology.platform(responseShards: [])
        let publisher = RabbitPublisher(configuration: broker, topology: topology, logger: silent)
        let consumer = RabbitConsumer(
            configuration: broker, queues: topology.queues(named: [Topology.streamQueue]), alsoDeclares: topology,
            prefetch: 4, logger: silent)
        let running = [Task { try await publisher.run() }, Task { try await consumer.run() }]
        defer { for task in running { task.cancel() } }
        while !publisher.isConnected || !consumer.isConnected { try await Task.sleep(for: .milliseconds(5)) }

        let turn = Turn.sample(number: 1, run: 1)
        // As long as a large turn's message.
        let body = Array(try JSONEncoder().encode(turn)) + Array(repeating: UInt8(ascii: " "), count: FullPool.large)
        try await publishPatiently(OutgoingMessage(turn: turn, body: body, now: turn.acceptedAt), publisher)
        var deliveries = consumer.deliveries.makeAsyncIterator()
        let delivery = try #require(await deliveries.next())
        let (read, tries) = try await FullPool().delaying { pool, logger in
            await TurnConsumer.read(delivery, on: pool, logger)
        }
        #expect(read == turn && tries >= 3)
        // It was neither given back nor acknowledged meanwhile.
        try await delivery.acknowledge()
        #expect(!delivery.redelivered)
    }

    @Test func aHoldersStepIsRepeatedAndItsDeliveryStays() async throws {
        let turn = Turn.sample(number: 1, run: 1)
        let lease = TurnLog.Lease(turn: turn.id, epoch: 7, owner: "me")
        let full = await FullPool()
        let error = await #expect(throws: (any Error).self) {
            _ = try await EndingTurn(turn, under: lease, proposal: .sample(turn), on: full.pool)
        }
        var holder = TurnHolder(
            turn, redelivered: false, rules: HolderRules(name: "me"), random: SeededGenerator(seed: 1))
        let step = holder.step
        let seen = TurnHolder<SeededGenerator>.Seen(now: turn.acceptedAt, uptime: 0, isDeliveryLive: true)
        for _ in 0..<100 {
            let result = HolderResult(of: try #require(error), isCancelled: false)
            guard case .pause(let milliseconds) = holder.resume(result, seen) else {
                Issue.record("\(holder.step)")
                return
            }
            #expect(milliseconds >= 20)
            #expect(holder.resume(.done, seen) == step)
        }
        await full.letGo()
        _ = try await EndingTurn(turn, under: lease, proposal: .sample(turn), on: full.pool)
    }

    @Test func anAnswersDigestGoesThroughALongPromptInThePool() async throws {
        let redis = RedisPool(
            configuration: RedisConfiguration(port: 1), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let full = await FullPool()
        let answers = SharedAnswers(
            cache: AnswerCache(pool: redis, lifetime: .seconds(1), maximumBytes: 1), nodes: NodeDirectory(pool: redis),
            pool: full.pool)
        #expect(await answers.answer(to: [1, 2], [3], of: .sample(number: 1, run: 1), "x", .stop) != nil)
        let long = [Int32](repeating: 1, count: FullPool.large / 8 + 1)
        #expect(await answers.answer(to: long, [3], of: .sample(number: 1, run: 1), "x", .stop) == nil)
    }

    /// A quorum queue may refuse a channel's first publish while its leader is slow to answer.
    private func publishPatiently(_ message: OutgoingMessage, _ publisher: RabbitPublisher) async throws {
        while true {
            do { return try await publisher.publish(message) } catch RabbitError.rejected { continue }
        }
    }
}

extension TurnOutcome {
    /// As long as a large one.
    fileprivate static func sample(_ turn: Turn) -> TurnOutcome {
        TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: turn.kind, status: .done,
            finishReason: .stop, error: nil, system: nil, message: turn.message,
            response: String(repeating: "r", count: FullPool.large), eventEnds: [FullPool.large],
            usage: .init(promptTokens: 3, completionTokens: 1), model: "m", seed: 1, acceptedAt: turn.acceptedAt,
            firstTokenAt: nil, endedAt: turn.acceptedAt + 5, attempts: 1)
    }
}
