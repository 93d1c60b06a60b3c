import ChatCore
import Foundation
import Hummingbird
import PostgresStore
import RedisStore
import ServiceLifecycle
import TestServers
import Testing

@testable import gateway

/// What became of a turn, asked on a real Redis; the shards are away.
@Suite(.timeLimit(.minutes(2))) struct FollowRoutesTests {
    private func withRoutes(_ body: (Int, RedisPool, TurnLog) async throws -> Void) async throws {
        let endpoint = try await TestServers.redis()
        let configuration = RedisConfiguration(
            host: endpoint.host, port: endpoint.port, password: endpoint.password)
        let redis = RedisPool(configuration: configuration, logger: LiveServer.logger)
        let running = Task { try await redis.run() }
        defer { running.cancel() }
        try await redis.waitUntilConnected()
        let database = try ShardedDatabase(
            configuration: DatabaseConfiguration(shards: "postgresql://u:p@127.0.0.1:1/d", poolSize: 1),
            logger: LiveServer.logger)
        let log = TurnLog(pool: redis)
        let relay = TurnRelay(
            name: "test",
            finder: TurnFinder(
                log: log,
                settled: SettledTurns(
                    conversations: ConversationRepository(database: database), logger: LiveServer.logger),
                generation: GenerationMark(pool: redis), clock: RedisClock(pool: redis), horizon: .seconds(1)),
            places: .init(all: 10, share: 100), redis: configuration, logger: LiveServer.logger)
        let router = Router(context: GatewayRequestContext.self)
        router.add(middleware: ErrorMiddleware())
        router.add(middleware: Owner())
        FollowRoutes(
            streams: .init(
                relay: relay, heartbeat: .seconds(60), writeTime: .init(label: "test"), logger: LiveServer.logger),
            resumes: .init(label: "test")
        ).add(to: router)
        try await LiveServer.run(router) { port, _ in try await body(port, redis, log) }
    }

    private func ask(_ port: Int, _ turn: Turn, _ fields: String = "") async throws -> String {
        try await LiveServer.exchange(
            port, "GET /check-response/\(turn.id) HTTP/1.1\r\nHost: x\r\n\(fields)Connection: close\r\n\r\n")
    }

    @Test func theLogOfATurnThatGoesOnIsNotRead() async throws {
        try await withRoutes { port, redis, log in
            let turn = Turn.sample()
            _ = try await log.reserve(turn)
            guard case .acquired(let lease, _) = try await log.acquire(turn, owner: "o", redelivered: false) else {
                Issue.record("no lease")
                return
            }
            let tokens = (0..<100).map { TurnLog.Token(id: Int32($0), text: "t") }
            _ = try await log.append(lease, first: 0, tokens: tokens)
            // A log that cannot be read shows whether somebody reads it: there is a string in its place.
            _ = try await redis.send("RENAME", .text("turn:{\(turn.id)}"), .text("turn:{\(turn.id)}:aside"))
            _ = try await redis.send("SET", .text("turn:{\(turn.id)}"), "no log")
            let going = try await ask(port, turn)
            #expect(going.hasPrefix("HTTP/1.1 202"), "\(going)")

            _ = try await redis.send("RENAME", .text("turn:{\(turn.id)}:aside"), .text("turn:{\(turn.id)}"))
            let outcome = TurnOutcome(
                turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: .batch, status: .done,
                finishReason: .stop, error: nil, system: nil, message: "Hello", response: "", eventEnds: [],
                usage: .init(promptTokens: 1, completionTokens: 100), model: "m", seed: 1, acceptedAt: 0,
                firstTokenAt: nil, endedAt: 5, attempts: 1)
            _ = try await log.end(lease, next: 100, end: TurnEnd(outcome: outcome))
            let ended = try await ask(port, turn)
            #expect(ended.hasPrefix("HTTP/1.1 200") && ended.contains(String(repeating: "t", count: 100)))
        }
    }

    @Test(arguments: ["-1", "2147483647", "9223372036854775807", "9223372036854775808", "1.5", "x"])
    func anEventIdThatIsNoneIsRefused(id: String) async throws {
        try await withRoutes { port, _, log in
            let turn = Turn.sample()
            _ = try await log.reserve(turn)
            let answer = try await LiveServer.exchange(
                port,
                "GET /stream/\(turn.id) HTTP/1.1\r\nHost: x\r\nLast-Event-ID: \(id)\r\nConnection: close\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 400") && answer.contains("Last-Event-ID"))
        }
    }
}
