import ChatCore
import Foundation
import RabbitQueue
import RedisStore
import ServiceHarness
import Testing

/// Redis answers and takes no writes: what was accepted waits, what can be read is read.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct RefusalTests {
    private static let tokens = 120

    @Test(.timeLimit(.minutes(4))) func noTurnIsLostWhileRedisTakesNoWrites() async throws {
        let cluster = try await Cluster(
            .simulated(ttft: 200, itl: 25), settings: ["RATE_LIMIT_STREAM": "0", "ADMISSION_STANDARD": "0s"])
        let second = try cluster.another("orchestrator")
        let letters = try Letters(cluster)
        defer { letters.close() }
        try await eventually("both orchestrators are seen", or: { cluster.logs }) {
            try await (cluster.get("/health", key: nil).json["alive"] as? [String: Int])?["orchestrators"] == 2
        }
        let body: [String: Any] = ["message": "Tell me a story.", "max_tokens": Self.tokens]
        func begin(_ index: Int) async throws -> String {
            try await cluster.beginStream(body.merging(["user_id": "user\(index)", "seed": index]) { $1 })
        }
        let before = try await begin(0)
        let whole = try await cluster.stream(before)
        let streams = try await accepted(10) { try await begin($0 + 1) }
        let followers = streams.map { id in Task { try await cluster.stream(id) } }
        for id in streams { _ = try await cluster.stream(id) { $0.events.count >= 3 } }

        try await refuseWrites(cluster, true)
        _ = await cluster.orchestrator.ended(by: SIGKILL)
        try await whatIsSaid(cluster, by: second)
        // One that starts now waits until it can be seen.
        let late = try cluster.another("orchestrator")
        var ending: ServiceProcess.Ending?
        try await eventually("it waits", or: { late.log }) {
            ending = late.reap()
            return ending != nil || late.log.contains("no turns are taken yet")
        }
        #expect(ending == nil, "\(late.log.suffix(1000))")
        // Read as before, by clients that come now.
        #expect(try await cluster.stream(before).events == whole.events)
        #expect(try await cluster.get("/check-response/\(before)").status == 200)
        #expect(try await cluster.get("/check-response/\(streams[0])").status == 202)
        for id in streams {
            #expect(try await cluster.stream(id) { $0.events.count >= 3 }.ids.prefix(3) == [0, 1, 2])
        }
        let late503 = try await cluster.post("/stream-chat", body.merging(["user_id": "late"]) { $1 })
        #expect(late503.status == 503 && (late503.error["message"] as? String)?.contains("refuses writes") == true)
        // A message that died in this time is not given up: its turn has no end yet.
        let dead = try await bury(cluster)
        try await eventually("the worker tries to end it", or: { cluster.worker.log }) {
            cluster.worker.log.contains("a step is tried again")
        }
        #expect(try await letters.all() == [])
        #expect(try await messages(in: Topology.deadLetterQueue, cluster) == 0)

        try await refuseWrites(cluster, false)
        for follower in followers {
            let read = try await follower.value
            #expect(read.ids == Array(0..<Self.tokens) && read.end?.status == "done", "\(second.log.suffix(3000))")
        }
        #expect(try await cluster.stream("\(dead.id)").end?.status == "failed")
        try await eventually("every turn is settled", within: .seconds(60), or: { cluster.logs }) {
            try await letters.settledTurns() == streams.count + 2
        }
        #expect(try await letters.all().map(\.turn) == [dead.id])
        for queue in Topology.turnQueues + [RetryLadder.dueQueue, Topology.deadLetterQueue] {
            try await eventually("\(queue) is empty") { try await messages(in: queue, cluster) == 0 }
        }
        try await eventually("well again", or: { cluster.logs }) {
            let answers = [
                try await cluster.get("/health", key: nil), try await second.asked("/readyz"),
                try await late.asked("/readyz"),
            ]
            return answers.allSatisfy { $0.status == 200 }
        }
        try await whatCannotBeEndedIsTriedAgain(cluster, letters)
        for process in [second, late] { _ = await process.ended(by: SIGKILL) }
        await cluster.stop()
    }

    private func refuseWrites(_ cluster: Cluster, _ refuses: Bool) async throws {
        try await withRedis(cluster) { redis in
            _ = try await redis.send("CONFIG", "SET", "min-replicas-to-write", refuses ? "1" : "0")
        }
    }

    private func whatIsSaid(_ cluster: Cluster, by orchestrator: ServiceProcess) async throws {
        try await eventually("health says what is refused", or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            let components = health.json["components"] as? [String: String]
            let breakers = health.json["breakers"] as? [String: String]
            return health.status == 503 && components?["redis"] == "up" && components?["redis_writes"] == "down"
                && breakers?["redis"] == "closed" && breakers?["redis.writes"] != "closed"
        }
        // The nodes live, and nobody can hear of it.
        try await eventually("inference is said to be unknown", or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            let components = health.json["components"] as? [String: String]
            #expect(components?["inference"] != "down", "\(health.text)")
            return health.json["status"] as? String == "degraded" && components?["inference"] == "unknown"
        }
        // It reads on: whoever sends it clients goes on to do so.
        let ready = try await cluster.get("/readyz", key: nil)
        #expect(ready.status == 200 && ready.text.contains("redis.writes is away: NOREPLICAS"), "\(ready.text)")
        for process in [orchestrator, cluster.worker, cluster.node] {
            try await eventually("\(process.name) takes no work", or: { process.log }) {
                let answer = try await process.asked("/readyz")
                return answer.status == 503 && answer.text.contains("redis.writes is away: NOREPLICAS")
            }
        }
    }

    /// A turn whose message lies among the dead letters.
    private func bury(_ cluster: Cluster) async throws -> Turn {
        var random = SystemRandomNumberGenerator()
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let id = TurnID(milliseconds: UInt64(now), using: &random)
        let turn = Turn(
            id: id,
            conversation: ConversationKey(
                owner: UserKey(tenant: "default", user: "carl"), id: ConversationID(firstTurn: id)),
            beginsConversation: true, kind: .batch, message: "Hi", system: nil, context: [], model: "test-model",
            sampling: .init(maxTokens: 2, seed: 7), acceptedAt: now, deadline: now + 600_000)
        try await publish(
            OutgoingMessage(
                queue: Topology.deadLetterQueue, body: Array(try JSONEncoder().encode(turn)), id: "\(turn.id)"), cluster
        )
        return turn
    }

    /// Something in Redis that repetition alone does not mend: the letter is kept for the operator, its message stays, and
    /// whoever mends it finds the turn still tried.
    private func whatCannotBeEndedIsTriedAgain(_ cluster: Cluster, _ letters: Letters) async throws {
        let turn = try await withTurn(cluster) { turn in
            try await withRedis(cluster) { redis in
                _ = try await redis.send("HSET", "turn:{\(turn.id)}:record", "outcome", "no outcome")
            }
            try await publish(
                OutgoingMessage(
                    queue: Topology.deadLetterQueue, body: Array(try JSONEncoder().encode(turn)), id: "\(turn.id)"),
                cluster)
        }
        try await eventually("its letter is kept", or: { cluster.worker.log }) {
            try await letters.all().contains { $0.turn == turn.id }
        }
        try await eventually("it is tried again", or: { cluster.worker.log }) {
            cluster.worker.log.components(separatedBy: "a dead letter's turn cannot be ended yet").count > 3
        }
        try await withRedis(cluster) { redis in
            _ = try await redis.send("HDEL", "turn:{\(turn.id)}:record", "outcome")
        }
        #expect(try await cluster.stream("\(turn.id)").end?.status == "failed")
        #expect(try await settled("\(turn.id)", cluster).status == .failed)
        #expect(try await letters.all().count { $0.turn == turn.id } == 1)
    }
}
