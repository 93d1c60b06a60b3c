import Foundation
import RabbitQueue
import RedisStore
import ServiceHarness
import Testing

/// Good turns are not poisoned by what happens to their consumers, and a turn that kills them is.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct KilledConsumersTests {
    private static let kills = 20
    private static let turns = 100

    /// Each orchestrator dies as soon as it has begun the last of all turns, before that one's first token: to every
    /// turn its consumers look as if it killed them.
    @Test(.timeLimit(.minutes(4))) func twentyKillsPoisonNobodyAndPoisonIsFound() async throws {
        let cluster = try await Cluster(
            .simulated(ttft: 600, itl: 20),
            settings: [
                "MAX_CONCURRENT": "128", "RATE_LIMIT_ASYNC": "0", "RATE_LIMIT_STREAM": "0",
                "TURN_RETRY_MAX_DELAY": "1s", "ADMISSION_STANDARD": "0s",
            ])
        let letters = try Letters(cluster)
        defer { letters.close() }
        var orchestrator = cluster.orchestrator
        var worker = cluster.worker

        func tokens(_ index: Int) -> Int { 10 + index % 50 }
        func body(_ index: Int) -> [String: Any] {
            [
                "message": "Tell me about the number \(index).", "user_id": "user\(index)", "seed": index,
                "max_tokens": tokens(index),
            ]
        }
        let streams = try await accepted(10) { try await cluster.beginStream(body($0)) }
        let followers = streams.map { id in Task { try await cluster.stream(id) } }
        let others = try await accepted(Self.turns - streams.count) { index in
            let answer = try await cluster.post("/async-chat", body(streams.count + index))
            return try #require(answer.json["correlation_id"] as? String, "\(answer.text)")
        }
        let last = try #require(others.last)
        try await withRedis(cluster) { redis in
            var attempts = 0
            for kill in 0..<Self.kills {
                if kill % 5 == 4 {
                    _ = await worker.ended(by: SIGKILL)
                    worker = try cluster.another("queue-worker")
                    continue
                }
                try await eventually("the last turn is begun", or: { orchestrator.log.suffix(3000).description }) {
                    let begun = try await redis.send("HGET", "turn:{\(last)}:record", "attempts").text.flatMap {
                        Int($0)
                    }
                    defer { attempts = begun ?? attempts }
                    return begun ?? 0 > attempts
                }
                _ = await orchestrator.ended(by: SIGKILL)
                orchestrator = try cluster.another("orchestrator")
            }
        }

        for (index, follower) in followers.enumerated() {
            try expectWhole(try await follower.value, tokens: tokens(index))
        }
        try await eventually("every turn is settled", within: .seconds(60), or: { cluster.logs }) {
            try await letters.settledTurns() == Self.turns
        }
        for (index, id) in others.enumerated() {
            try expectWhole(try await cluster.stream(id), tokens: tokens(streams.count + index))
        }
        #expect(try await settled(last, cluster).attempts > Self.kills / 2)
        #expect(try await letters.all() == [])
        for queue in Topology.turnQueues + [RetryLadder.dueQueue, Topology.deadLetterQueue] {
            try await eventually("\(queue) is empty") { try await messages(in: queue, cluster) == 0 }
        }
        try await poisonIsFound(cluster, letters)
        for process in [orchestrator, worker] { _ = await process.ended(by: SIGKILL) }
        await cluster.stop()
    }

    /// One turn's node dies each time that it has begun that turn: it is given up after five of them, and what was at
    /// the same nodes goes on.
    private func poisonIsFound(_ cluster: Cluster, _ letters: Letters) async throws {
        func body(_ user: String, tokens: Int) -> [String: Any] {
            ["message": "Tell me a long story.", "user_id": user, "seed": 3, "max_tokens": tokens]
        }
        let neighbours = try await accepted(8) { try await cluster.beginStream(body("neighbour\($0)", tokens: 200)) }
        let followers = neighbours.map { id in Task { try await cluster.stream(id) } }
        _ = try await cluster.stream(try #require(neighbours.last)) { !$0.events.isEmpty }
        let poison = try await cluster.beginStream(body("poisoner", tokens: 50))
        let follower = Task { try await cluster.stream(poison) }
        var node = cluster.node
        try await withRedis(cluster) { redis in
            for attempt in 1...5 {
                try await eventually("attempt \(attempt) is begun", or: { cluster.logs }) {
                    let begun = try await redis.send("HGET", "turn:{\(poison)}:record", "attempts").text
                    return begun.flatMap { Int($0) } ?? 0 >= attempt
                }
                _ = await node.ended(by: SIGKILL)
                node = try cluster.another(
                    "inference-node", ["serve", "--engine", "simulated", "--ttft-ms", "600", "--itl-ms", "20"])
            }
        }
        let reason = "generation began 5 times and brought no token"
        let end = try #require(try await follower.value.end)
        #expect(end.status == "failed" && end.error?.message == reason)
        for follower in followers { try expectWhole(try await follower.value, tokens: 200) }
        try await eventually("its letter is kept") { try await letters.all().count == 1 }
        let letter = try #require(try await letters.all().first)
        #expect("\(letter.turn.map(String.init) ?? "")" == poison && letter.reason == reason)
        #expect(letter.queue == Topology.streamQueue)
        let outcome = try await settled(poison, cluster)
        #expect(outcome.status == .failed && outcome.attempts == 5 && outcome.attemptLog?.count == 5)
        _ = await node.ended(by: SIGKILL)
    }

    private func expectWhole(_ read: ReadStream, tokens: Int) throws {
        #expect(read.ids == Array(0..<tokens) && read.end?.status == "done", "\(read.end.debugDescription)")
    }
}
