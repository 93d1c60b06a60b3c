import AsyncHTTPClient
import ChatCore
import Foundation
import Logging
import PostgresStore
import RedisStore
import ServiceHarness
import Testing

/// A request that is made again, on a whole cluster.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct IdempotencyTests {
    @Test(.timeLimit(.minutes(3))) func aRepeatedRequestIsTheSameTurn() async throws {
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 10), settings: ["GATEWAY_MAX_BACKLOG": "3"])
        try await samePathsSameTurn(cluster)
        try await otherRequests(cluster)
        try await manyAtOnce(cluster)
        try await aClientThatComesBack(cluster)
        try await afterALossOfRedis(cluster)
        try await aBacklogOfOutcomes(cluster)
        await cluster.stop()
    }

    private func post(
        _ cluster: Cluster, _ path: String, _ message: String, user: String = "ida", key: String, maxTokens: Int = 4
    ) async throws -> HTTPAnswer {
        let body: [String: Any] = ["message": message, "user_id": user, "max_tokens": maxTokens, "temperature": 1.5]
        return try await cluster.send(
            "POST", path, body: Array(try JSONSerialization.data(withJSONObject: body)),
            headers: ["Idempotency-Key": key])
    }

    private func samePathsSameTurn(_ cluster: Cluster) async throws {
        for path in ["/chat", "/stream-chat", "/async-chat"] {
            let first = try await post(cluster, path, "Hi", key: "same-\(path)")
            let second = try await post(cluster, path, "Hi", key: "same-\(path)")
            #expect(first.status == (path == "/async-chat" ? 202 : 200), "\(first.text)")
            #expect(first.headers["idempotent-replayed"] == nil && second.headers["idempotent-replayed"] == "true")
            let id = try #require(first.headers["x-correlation-id"])
            #expect(second.status == first.status && second.headers["x-correlation-id"] == id)
            // Random answers: the second is the first, not another of the same kind.
            #expect(second.json["response"] as? String == first.json["response"] as? String)
            #expect(second.json["conversation_id"] as? Int64 == first.json["conversation_id"] as? Int64)
        }
    }

    private func otherRequests(_ cluster: Cluster) async throws {
        for (path, message) in [("/chat", "Other"), ("/async-chat", "Hi")] {
            let other = try await post(cluster, path, message, key: "same-/chat")
            #expect(other.status == 422 && other.error["code"] as? String == "idempotency_key_reused", "\(other.text)")
        }
        // Another user's key is another key.
        let bob = try await post(cluster, "/chat", "Hi", user: "bob", key: "same-/chat")
        #expect(bob.status == 200 && bob.headers["idempotent-replayed"] == nil)
        let bad = try await post(cluster, "/chat", "Hi", key: String(repeating: "k", count: 256))
        #expect(bad.status == 400 && bad.error["field"] as? String == "Idempotency-Key")
    }

    private func manyAtOnce(_ cluster: Cluster) async throws {
        let ids = try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await post(cluster, "/async-chat", "Once", user: "carl", key: "many")
                        .headers["x-correlation-id"]
                }
            }
            return try await group.reduce(into: Set<String?>()) { $0.insert($1) }
        }
        #expect(ids.count == 1, "\(ids)")
        let id = try #require(ids.first ?? nil)
        try await eventually("the one turn is settled", or: { cluster.logs }) {
            try await cluster.get("/check-response/\(id)").status == 200
        }
        try await withDatabase(cluster) { database in
            try await eventually("it is stored once") { try await turns(of: "carl", database) == 1 }
        }
    }

    /// A client that lost its connection asks again, and gets the answer that the first request began.
    private func aClientThatComesBack(_ cluster: Cluster) async throws {
        let body: [String: Any] = ["message": "Long", "user_id": "dora", "max_tokens": 120, "temperature": 1.5]
        let request = cluster.request(
            "POST", "/chat", body: Array(try JSONSerialization.data(withJSONObject: body)),
            headers: ["Idempotency-Key": "again"])
        func runs() async throws -> Bool {
            try await withRedis(cluster) { try await NodeDirectory(pool: $0).nodes().contains { $0.running > 0 } }
        }
        try await eventually("what ran before has ended") { try await !runs() }
        let cut = Task { try await HTTPClient.shared.execute(request, timeout: .seconds(60)) }
        try await eventually("the turn runs", runs)
        cut.cancel()
        _ = await cut.result
        let answer = try await post(cluster, "/chat", "Long", user: "dora", key: "again", maxTokens: 120)
        #expect(answer.status == 200 && answer.headers["idempotent-replayed"] == "true", "\(answer.text)")
        try await withDatabase(cluster) { database in
            try await eventually("it is stored once") { try await turns(of: "dora", database) == 1 }
        }
    }

    private func afterALossOfRedis(_ cluster: Cluster) async throws {
        let before = try await post(cluster, "/chat", "Keep", user: "eve", key: "kept")
        try await withDatabase(cluster) { database in
            try await eventually("the turn is settled") { try await turns(of: "eve", database) == 1 }
        }
        try await withRedis(cluster) { _ = try await $0.send("FLUSHALL") }
        let after = try await post(cluster, "/chat", "Keep", user: "eve", key: "kept")
        #expect(after.status == 200, "\(after.text)")
        #expect(after.headers["x-correlation-id"] == before.headers["x-correlation-id"])
        #expect(after.json["response"] as? String == before.json["response"] as? String)
        #expect(try await post(cluster, "/chat", "Lose", user: "eve", key: "kept").status == 422)
    }

    /// While a shard has more to settle than it may, its users' turns are refused, and nobody else's.
    private func aBacklogOfOutcomes(_ cluster: Cluster) async throws {
        _ = await cluster.worker.ended(by: SIGKILL)
        func accepts(_ user: String) async throws -> HTTPAnswer {
            try await cluster.post("/async-chat", ["message": "Hi", "user_id": user, "max_tokens": 1])
        }
        var refused: HTTPAnswer?
        for _ in 0..<3 { #expect(try await accepts("fred").status == 202) }
        try await eventually("the shard's users are refused", or: { cluster.logs }) {
            let answer = try await accepts("fred")
            if answer.status == 503 { refused = answer }
            return refused != nil
        }
        let refusal = try #require(refused)
        #expect(refusal.error["code"] as? String == "overloaded" && refusal.headers["retry-after"] == "10")
        try await withDatabase(cluster) { database in
            let full = database.shard(for: UserKey(tenant: "default", user: "fred")).name
            let others = (0..<50).map { "other\($0)" }
            let elsewhere = others.first { database.shard(for: UserKey(tenant: "default", user: $0)).name != full }
            let answer = try await accepts(try #require(elsewhere))
            #expect(answer.status == 202)
        }
        let worker = try cluster.another("queue-worker")
        try await eventually("the backlog is gone", or: { cluster.logs }) { try await accepts("fred").status == 202 }
        _ = await worker.ended(by: SIGKILL)
    }

    private func turns(of user: String, _ database: ShardedDatabase) async throws -> Int64 {
        let rows = try await database.shard(for: UserKey(tenant: "default", user: user)).pool.query(
            "SELECT count(*) AS count FROM turns WHERE user_name = $1", [.text(user)])
        return try rows.first?.value("count") ?? 0
    }

    private func withDatabase(_ cluster: Cluster, _ body: (ShardedDatabase) async throws -> Void) async throws {
        let database = try ShardedDatabase(
            configuration: try DatabaseConfiguration(shards: cluster.shards.joined(separator: ","), poolSize: 1),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let running = Task { try await database.run() }
        defer { running.cancel() }
        try await body(database)
    }
}
