import Foundation
import ServiceHarness
import Testing

/// A node whose KV blocks hold an eighth of the model's context.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches"), .serialized)
struct CapacityTests {
    private func degradation(_ answer: HTTPAnswer) -> [String: Any] {
        answer.json["degradation"] as? [String: Any] ?? [:]
    }

    @Test(.timeLimit(.minutes(3))) func longAnswersAndConversationsAreCutToWhatTheNodeHolds() async throws {
        let cluster = try await Cluster(
            .llama, settings: ["ENGINE_KV_BLOCKS": "64", "RATE_LIMIT_CHAT": "0", "RATE_LIMIT_STREAM": "0"])
        let long = try await cluster.post(
            "/chat", ["message": "Tell me a long story.", "user_id": "ann", "max_tokens": 2000, "seed": 1])
        #expect(long.status == 200, "\(long.text)\n\(cluster.logs)")
        #expect(degradation(long)["steps"] as? [String] == ["fewer_tokens"], "\(long.text)")
        #expect(degradation(long)["requested_max_tokens"] as? Int == 2000)

        // 1,024 tokens are soon full: the conversation goes on, and says what it forgot.
        var body: [String: Any] = [
            "message": "Please remember this: " + String(repeating: "red green blue ", count: 60), "user_id": "ann",
            "max_tokens": 40, "seed": 1,
        ]
        var forgot = false
        for turn in 1...8 {
            let answer = try await cluster.post("/chat", body)
            #expect(answer.status == 200, "turn \(turn): \(answer.text)\n\(cluster.logs)")
            body["conversation_id"] = answer.json["conversation_id"]
            guard let tokens = degradation(answer)["context_tokens"] as? Int else { continue }
            forgot = true
            #expect(tokens == 1024 && (degradation(answer)["steps"] as? [String])?.contains("shorter_context") == true)
        }
        #expect(forgot)

        // What the model could take and this node cannot waits for one that can.
        let wide = try await cluster.beginStream([
            "message": String(repeating: "word ", count: 1500), "user_id": "ben", "max_tokens": 10, "seed": 1,
        ])
        let roomy = try cluster.another("inference-node", ["serve"], settings: ["ENGINE_KV_BLOCKS": "256"])
        let answer = try await cluster.stream(wide)
        #expect(answer.end?.status == "done" && answer.end?.usage.prompt_tokens ?? 0 > 1024, "\(cluster.logs)")
        _ = await roomy.ended(by: SIGKILL)
        await cluster.stop()
    }
}
