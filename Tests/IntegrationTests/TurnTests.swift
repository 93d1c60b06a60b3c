import AsyncHTTPClient
import ChatCore
import Foundation
import Logging
import PostgresStore
import RedisStore
import ServiceHarness
import Testing

/// Turns on a whole cluster with the real model.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches"), .serialized)
struct TurnTests {
    @Test(.timeLimit(.minutes(5))) func turnsOnTheRealModel() async throws {
        let cluster = try await Cluster(.llama)
        try await conversationCarriesItsHistory(cluster)
        try await manyStreamsGetWhatEachGetsAlone(cluster)
        try await stopStringsEndTheText(cluster)
        try await theSettledTurnReplaysTheSameEvents(cluster)
        for process in [cluster.gateway, cluster.orchestrator, cluster.worker, cluster.node] {
            #expect(await process.ended(by: SIGTERM) == 0, "\(process.name): \(process.log.suffix(2000))")
        }
        await cluster.stop()
    }

    /// The second turn's prompt holds the first, from Redis and, when Redis was emptied, from the shard.
    private func conversationCarriesItsHistory(_ cluster: Cluster) async throws {
        let first = try await cluster.stream(
            try await cluster.beginStream(
                [
                    "message": "My name is Ann.", "user_id": "ann", "max_tokens": 12, "temperature": 0,
                    "system": "Be kind.",
                ]))
        let end = try #require(first.end)
        let body: [String: Any] = [
            "message": "What is my name?", "user_id": "ann", "conversation_id": end.conversation_id, "max_tokens": 8,
            "temperature": 0,
        ]
        let warm = try #require(try await cluster.stream(try await cluster.beginStream(body)).end)
        #expect(warm.conversation_id == end.conversation_id)
        #expect(warm.usage.prompt_tokens > end.usage.prompt_tokens + end.usage.completion_tokens)

        // The same question with the history written out by hand makes a prompt of the same length, and the same answer.
        let spelled = try await cluster.stream(
            try await cluster.beginStream([
                "message": "What is my name?", "user_id": "ann2", "max_tokens": 8, "temperature": 0,
                "system": "Be kind.",
                "context": [
                    ["role": "user", "content": "My name is Ann."], ["role": "assistant", "content": first.text],
                ],
            ]))
        #expect(spelled.end?.usage == warm.usage)

        try await withRedis(cluster) { redis in _ = try await redis.send("FLUSHALL") }
        let cold = try await cluster.stream(
            try await cluster.beginStream(body.merging(["message": "And who am I?"]) { $1 }))
        // Both earlier turns are in it.
        #expect((cold.end?.usage.prompt_tokens ?? 0) > warm.usage.prompt_tokens + warm.usage.completion_tokens)
    }

    private func manyStreamsGetWhatEachGetsAlone(_ cluster: Cluster) async throws {
        func body(_ index: Int) -> [String: Any] {
            [
                "message": "Tell me about the number \(index).", "user_id": "user\(index)", "max_tokens": 24,
                "seed": index,
                "temperature": 0.8,
            ]
        }
        let together = try await withThrowingTaskGroup(of: (Int, ReadStream).self) { group in
            for index in 0..<32 {
                let id = try await cluster.beginStream(body(index))
                group.addTask { (index, try await cluster.stream(id)) }
            }
            return try await group.reduce(into: [Int: ReadStream]()) { $0[$1.0] = $1.1 }
        }
        #expect(together.count == 32)
        for index in 0..<32 {
            let stream = try #require(together[index])
            #expect(stream.isDone && stream.end?.status == "done" && stream.ids == Array(0..<stream.events.count))
        }
        for index in stride(from: 0, to: 32, by: 5) {
            let alone = try await cluster.stream(try await cluster.beginStream(body(index)))
            #expect(alone.events == together[index]?.events, "stream \(index)")
        }
    }

    private func stopStringsEndTheText(_ cluster: Cluster) async throws {
        let body: [String: Any] = ["message": "Count to ten.", "user_id": "count", "max_tokens": 40, "temperature": 0]
        let whole = try await cluster.stream(try await cluster.beginStream(body))
        let words = whole.text.split(separator: " ")
        try #require(words.count > 4)
        let stop = String(words[3])
        let cut = try await cluster.stream(try await cluster.beginStream(body.merging(["stop": [stop]]) { $1 }))
        #expect(cut.end?.finish_reason == "stop")
        #expect(cut.text == whole.text.range(of: stop).map { String(whole.text[..<$0.lowerBound]) })
    }

    private func theSettledTurnReplaysTheSameEvents(_ cluster: Cluster) async throws {
        let id = try await cluster.beginStream([
            "message": "Say 東京 and 👩‍👩‍👧.", "user_id": "emoji", "max_tokens": 30, "seed": 3,
        ])
        let live = try await cluster.stream(id)
        let outcome = try await settled(id, cluster)
        #expect(outcome.response == live.text && outcome.status == .done && outcome.attempts == 1)
        try await withRedis(cluster) { redis in
            _ = try await redis.send("DEL", "turn:{\(id)}", "turn:{\(id)}:record", "turn:{\(id)}:readers")
        }
        let replayed = try await cluster.stream(id)
        #expect(replayed.events == live.events && replayed.isDone && replayed.end?.usage == live.end?.usage)
        let rest = try await cluster.stream(id, lastEventID: 10)
        #expect(rest.events == Array(live.events.dropFirst(11)))
        #expect(try await cluster.get("/check-response/\(id)").json["response"] as? String == live.text)
    }
}

/// A turn after its end, from its shard, when it has been settled; each turn must be there exactly once.
func settled(_ id: String, _ cluster: Cluster) async throws -> TurnOutcome {
    let turn = try #require(TurnID(id))
    let database = try ShardedDatabase(
        configuration: try DatabaseConfiguration(shards: cluster.shards.joined(separator: ","), poolSize: 1),
        logger: quiet)
    let running = Task { try await database.run() }
    defer { running.cancel() }
    var outcome: TurnOutcome?
    try await eventually("turn \(id) is settled", or: { cluster.logs }) {
        outcome = try await ConversationRepository(database: database).turn(turn, tenant: "default")
        return outcome != nil
    }
    return try #require(outcome)
}

func withRedis<Result: Sendable>(
    _ cluster: Cluster, _ body: (RedisPool) async throws -> Result
) async throws -> Result {
    let endpoint = cluster.redis.endpoint
    let pool = RedisPool(
        configuration: RedisConfiguration(
            host: endpoint.host, port: endpoint.port, password: endpoint.password, poolSize: 1),
        logger: quiet)
    let running = Task { try await pool.run() }
    defer { running.cancel() }
    try await pool.waitUntilConnected()
    return try await body(pool)
}

private let quiet: Logger = {
    var logger = Logger(label: "tests")
    logger.logLevel = .critical
    return logger
}()
