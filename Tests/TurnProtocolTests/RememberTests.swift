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

extension Turn {
    fileprivate static func sample(message: String, system: String?) -> Turn {
        var random = SystemRandomNumberGenerator()
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let id = TurnID(milliseconds: UInt64(now), using: &random)
        return Turn(
            id: id,
            conversation: ConversationKey(
                owner: UserKey(tenant: "acme", user: "user-\(id)"), id: ConversationID(firstTurn: id)),
            beginsConversation: true, kind: .stream, message: message, system: system, context: [], model: nil,
            sampling: Sampling(maxTokens: 16, seed: 1), acceptedAt: now, deadline: now + 600_000)
    }
}
