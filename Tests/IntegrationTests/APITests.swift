import Foundation
import ServiceHarness
import Testing

/// The seven endpoints on a whole cluster, with a node that needs no model.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct APITests {
    @Test(.timeLimit(.minutes(3))) func theEndpointsAnswerAsTheyPromise() async throws {
        let cluster = try await Cluster(.simulated(ttft: 1, itl: 1), settings: ["GATEWAY_MAX_BODY_BYTES": "20000"])
        try await health(cluster)
        try await chat(cluster)
        try await stream(cluster)
        try await later(cluster)
        try await errors(cluster)
        try await tenants(cluster)
        try await limits(cluster)
        try await tooLong(cluster)
        await cluster.stop()
    }

    private func health(_ cluster: Cluster) async throws {
        let health = try await cluster.get("/health", key: nil)
        #expect(health.json["status"] as? String == "healthy")
        #expect(
            health.json["components"] as? [String: String]
                == [
                    "inference": "up", "redis": "up", "redis_writes": "up", "database": "up", "database_writes": "up",
                    "rabbitmq": "up",
                ])
        #expect(abs((health.json["timestamp"] as? Double ?? 0) - Date().timeIntervalSince1970) < 60)

        // A gateway is healthy before the orchestrator's consumers stand: turns would wait for them.
        let idle = ["message_count": 0, "consumer_count": 1]
        try await eventually("every queue has its consumers") {
            let queues = try await cluster.get("/debug/queue-stats").json
            return ["chat_queue", "stream_queue", "batch_queue"].allSatisfy { queues[$0] as? [String: Int] == idle }
                && queues["response_queue"] as? [String: Int] == ["message_count": 0, "consumer_count": 2]
        }
    }

    private func chat(_ cluster: Cluster) async throws {
        let answer = try await cluster.post(
            "/chat", ["message": "Hi", "user_id": "ann", "context": [], "stream": false, "max_tokens": 5])
        #expect(answer.status == 200, "\(answer.text)")
        #expect(Set(answer.json.keys) == ["response", "conversation_id", "processing_time"])
        #expect((answer.json["conversation_id"] as? Int64 ?? 0) > 0)
        #expect((answer.json["processing_time"] as? Double ?? 0) > 0)
        #expect((answer.json["response"] as? String)?.isEmpty == false)
    }

    private func stream(_ cluster: Cluster) async throws {
        let accepted = try await cluster.post(
            "/stream-chat", ["message": "Hi", "user_id": "ann", "max_tokens": 20, "seed": 7])
        #expect(Set(accepted.json.keys) == ["status", "message", "correlation_id", "stream_endpoint"])
        #expect(accepted.json["status"] as? String == "streaming")
        let id = accepted.json["correlation_id"] as? String ?? ""
        #expect(accepted.json["stream_endpoint"] as? String == "/stream/\(id)")
        let read = try await cluster.stream(id)
        #expect(read.ids == Array(0..<20))
        #expect(read.isDone && read.end?.finish_reason == "length" && read.end?.usage.completion_tokens == 20)
        // The whole again, and from any place: the same events under the same ids.
        #expect(try await cluster.stream(id).events == read.events)
        for last in [0, 9, 19, 5000] {
            let rest = try await cluster.stream(id, lastEventID: last)
            #expect(rest.events == Array(read.events.dropFirst(last + 1)) && rest.end == read.end && rest.isDone)
        }
    }

    private func later(_ cluster: Cluster) async throws {
        let accepted = try await cluster.post("/async-chat", ["message": "Hi", "user_id": "ann", "max_tokens": 5])
        #expect(accepted.status == 202)
        #expect(Set(accepted.json.keys) == ["status", "message", "correlation_id", "check_endpoint"])
        #expect(accepted.json["status"] as? String == "processing")
        let path = accepted.json["check_endpoint"] as? String ?? ""
        #expect(path == "/check-response/\(accepted.json["correlation_id"] as? String ?? "")")
        try await eventually("the answer is there") {
            let answer = try await cluster.get(path)
            if answer.status == 202 { #expect(answer.json["status"] as? String == "processing") }
            return answer.status == 200
                && Set(answer.json.keys) == ["response", "conversation_id", "processing_time"]
        }
    }

    private func errors(_ cluster: Cluster) async throws {
        func expect(_ answer: Cluster.Answer, _ status: Int, field: String? = nil) {
            #expect(answer.status == status, "\(answer.text)")
            #expect(answer.error["code"] is String && answer.error["message"] is String)
            #expect(answer.error["field"] as? String == field)
        }
        let body: [String: Any] = ["message": "Hi", "user_id": "bob"]
        expect(try await cluster.post("/chat", ["user_id": "bob"]), 400, field: "message")
        expect(
            try await cluster.post("/stream-chat", body.merging(["temperature": 9]) { $1 }), 400, field: "temperature")
        expect(try await cluster.post("/async-chat", body.merging(["model": "gpt-9"]) { $1 }), 400, field: "model")
        expect(try await cluster.post("/chat", body.merging(["stream": true]) { $1 }), 400, field: "stream")
        expect(try await cluster.send("POST", "/chat", body: Array("{".utf8)), 400, field: "body")
        expect(try await cluster.send("POST", "/chat", body: Array(repeating: 32, count: 30_000)), 413)
        expect(try await cluster.post("/chat", body, key: nil), 401)
        expect(try await cluster.post("/chat", body, key: "sb_nonsense"), 401)
        let forged = String(cluster.key.dropLast()) + (cluster.key.hasSuffix("0") ? "1" : "0")
        expect(try await cluster.post("/chat", body, key: forged), 401)
        expect(try await cluster.get("/debug/queue-stats", key: nil), 401)
        expect(try await cluster.get("/stream/01903645-bb87-7000-8000-000000000000"), 404)
        expect(try await cluster.get("/check-response/01903645-bb87-7000-8000-000000000000"), 404)
        expect(try await cluster.get("/check-response/nonsense"), 404)
        expect(try await cluster.get("/nowhere"), 404)
        expect(try await cluster.get("/chat"), 405)
        expect(try await cluster.post("/chat", body.merging(["max_token": 1]) { $1 }), 400, field: "max_token")
        expect(
            try await cluster.post("/chat", body.merging(["conversation_id": 4711]) { $1 }), 404,
            field: "conversation_id")
        let id = try await cluster.beginStream(body.merging(["max_tokens": 1]) { $1 })
        expect(try await cluster.get("/stream/\(id)", headers: ["Last-Event-ID": "x"]), 400, field: "Last-Event-ID")
    }

    /// Longer than the model's context, which only its tokenizer can tell.
    private func tooLong(_ cluster: Cluster) async throws {
        let body: [String: Any] = ["message": String(repeating: "x ", count: 9000), "user_id": "bob"]
        let whole = try await cluster.post("/chat", body)
        #expect(whole.status == 400 && whole.error["code"] as? String == "context_length_exceeded", "\(whole.text)")
        let reason = whole.error["message"] as? String ?? ""
        #expect(reason.contains("8192") && reason.contains(" tokens"), "\(reason)")
        let id = try await cluster.beginStream(body)
        let read = try await cluster.stream(id)
        #expect(read.end?.error?.code == "context_length_exceeded" && read.end?.status == "failed")
        // And from the shard, when its log has gone.
        try await withRedis(cluster) { _ = try await $0.send("FLUSHALL") }
        try await eventually("it is settled") {
            try await cluster.stream(id).end?.error?.code == "context_length_exceeded"
        }
    }

    private func tenants(_ cluster: Cluster) async throws {
        let other = try await Executable.output(
            "switchboard", ["keys", "create", "--name", "other", "--tenant", "other"], environment: cluster.environment)
        let id = try await cluster.beginStream(["message": "Hi", "user_id": "ann", "max_tokens": 3])
        let conversation = try #require(try await cluster.stream(id).end?.conversation_id)
        #expect(try await cluster.get("/stream/\(id)", key: other).status == 404)
        #expect(try await cluster.get("/check-response/\(id)", key: other).status == 404)
        let follow: [String: Any] = [
            "message": "more", "user_id": "ann", "conversation_id": conversation, "max_tokens": 3,
        ]
        #expect(try await cluster.post("/chat", follow, key: other).status == 404)
        #expect(try await cluster.post("/chat", follow).status == 200)
        // Another user of the same tenant has no such conversation either.
        #expect(try await cluster.post("/chat", follow.merging(["user_id": "eve"]) { $1 }).status == 404)
    }

    private func limits(_ cluster: Cluster) async throws {
        let body: [String: Any] = ["message": "Hi", "user_id": "hasty", "max_tokens": 1]
        for _ in 0..<20 { #expect(try await cluster.post("/chat", body).status == 200) }
        let refused = try await cluster.post("/chat", body)
        #expect(refused.status == 429)
        #expect((1...60).contains(Int(refused.headers["retry-after"] ?? "") ?? 0))
        // Counted for each user, and for each path of its own.
        #expect(try await cluster.post("/chat", body.merging(["user_id": "calm"]) { $1 }).status == 200)
        #expect(try await cluster.post("/stream-chat", body).status == 200)
    }
}
