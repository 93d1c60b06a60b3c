import ChatCore
import Foundation
import Logging
import RabbitQueue
import RedisStore
import TestServers
import Testing
import TurnProtocol

/// What an ended turn leaves for the later ones of its conversation.
@Suite(.timeLimit(.minutes(2))) struct RememberTests {
    @Test(arguments: [TurnOutcome.Status.done, .failed, .cancelled], ["", "part"])
    func onlyWhatPromptsShowLeavesItsMessage(status: TurnOutcome.Status, response: String) async throws {
        let endpoint = try await TestServers.redis()
        let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let redis = RedisPool(
            configuration: RedisConfiguration(host: endpoint.host, port: endpoint.port, password: endpoint.password),
            logger: silent)
        let running = Task { try await redis.run() }
        defer { running.cancel() }
        try await redis.waitUntilConnected()
        let contexts = ContextCache(pool: redis)
        let log = TurnLog(pool: redis)
        // Nothing is published here.
        let publisher = RabbitPublisher(
            configuration: try RabbitConfiguration(uri: "amqp://guest:guest@127.0.0.1:1/"),
            topology: Topology(queues: []), logger: silent)
        let ending = TurnEnding(
            log: log, order: ConversationOrder(pool: redis), contexts: contexts,
            outstanding: OutstandingTurns(pool: redis), publisher: publisher
        ) { _ in "shard0" }

        let turn = Turn.sample(message: String(repeating: "m", count: 100_000), system: "s")
        guard case .acquired(let lease, _) = try await log.acquire(turn, owner: "o", redelivered: false) else {
            Issue.record("not acquired")
            return
        }
        let outcome = TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: turn.kind, status: status,
            finishReason: .stop, error: nil, system: turn.system, message: turn.message, response: response,
            eventEnds: response.isEmpty ? [] : [response.utf8.count],
            usage: .init(promptTokens: 1, completionTokens: 1), model: "m", seed: 1, acceptedAt: turn.acceptedAt,
            firstTokenAt: nil, endedAt: turn.acceptedAt + 1, attempts: 1)
        var ended = try await EndingTurn(turn, under: lease, proposal: outcome)
        try await ending.perform(.remember, of: &ended)
        let isShown = status != .failed && !response.isEmpty
        let loaded = try #require(try await contexts.load(turn.conversation))
        #expect(
            loaded.entries == [
                .init(
                    turn: turn.id, position: turn.position, system: "s", message: isShown ? turn.message : "",
                    response: isShown ? response : "")
            ])
        #expect(loaded.complete)
        try await contexts.remove(turn.conversation)
    }
}
