import ChatCore
import Foundation
import Logging
import PostgresStore
import RedisStore
import ServiceHarness
import Testing

/// A turn that cannot be planned now waits on the retry ladder, not in an orchestrator's window.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct RetryTests {
    @Test(.timeLimit(.minutes(3))) func aTurnWithoutItsHistoryWaitsOnTheLadder() async throws {
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 1), settings: ["TURN_RETRY_MAX_DELAY": "2s"])
        func begun(by user: String) async throws -> [String: Any] {
            let id = try await cluster.beginStream(["message": "Hello.", "user_id": user, "max_tokens": 5])
            let end = try #require(try await cluster.stream(id).end)
            _ = try await settled(id, cluster)
            return ["message": "And more?", "user_id": user, "max_tokens": 5, "conversation_id": end.conversation_id]
        }
        let (ann, bob) = (try await begun(by: "ann"), try await begun(by: "bob"))
        // History is neither in Redis nor to be had from the shards.
        try await rename("messages", to: "hidden", cluster)
        try await withRedis(cluster) { redis in
            for key in try await redis.send("KEYS", "context:*").array ?? [] {
                _ = try await redis.send("DEL", .text(key.text ?? ""))
            }
        }
        func ask(_ body: [String: Any]) async throws -> TurnID {
            let answer = try await cluster.post("/async-chat", body)
            return try #require((answer.json["correlation_id"] as? String).flatMap { TurnID($0) }, "\(answer.text)")
        }
        let (patient, fickle) = (try await ask(ann), try await ask(bob))

        // Cancelled on its rung, it ends there and then: by the one that parked it, for nobody holds it.
        try await withRedis(cluster) { redis in
            let log = TurnLog(pool: redis)
            try await eventually("a turn is parked and cancelled", or: { cluster.logs }) {
                let record = try await redis.send(
                    "HMGET", .text("turn:{\(fickle)}:record"), "owner", "parked", "ended")
                guard let parts = record.array, parts.count == 3 else { return false }
                if parts[0].text == "", parts[1].text != nil { try await log.requestCancel(fickle, reason: "deleted") }
                return !parts[2].isNull
            }
        }
        #expect(cluster.orchestrator.log.contains("a parked turn was cancelled"), "\(cluster.orchestrator.log)")

        try await rename("hidden", to: "messages", cluster)
        #expect(try await settled(fickle.description, cluster).status == .cancelled)
        let outcome = try await settled(patient.description, cluster)
        #expect(outcome.status == .done && outcome.usage.completionTokens == 5)
        #expect(cluster.orchestrator.log.contains("a turn is tried again later"))
        #expect(!cluster.worker.log.contains("dead letter"), "\(cluster.worker.log)")
        await cluster.stop()
    }

    private func rename(_ table: String, to name: String, _ cluster: Cluster) async throws {
        let database = try ShardedDatabase(
            configuration: try DatabaseConfiguration(shards: cluster.shards.joined(separator: ","), poolSize: 1),
            logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { try await database.run() }
        defer { running.cancel() }
        for shard in database.shards {
            try await eventually("\(table) is renamed at \(shard.name)") {
                _ = try await shard.pool.query("ALTER TABLE \(table) RENAME TO \(name)")
                return true
            }
        }
    }
}
