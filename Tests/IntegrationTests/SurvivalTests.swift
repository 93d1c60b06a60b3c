import Foundation
import Testing

/// A stream outlives the death of the process that writes it.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches"), .serialized)
struct SurvivalTests {
    @Test(.timeLimit(.minutes(3))) func aStreamOutlivesItsOrchestrator() async throws {
        let cluster = try await Cluster(.llama)
        let body: [String: Any] = [
            "message": "Tell me a long story about a lighthouse.", "user_id": "ann", "max_tokens": 200, "seed": 11,
            "temperature": 0.9,
        ]
        let undisturbed = try await cluster.stream(try await cluster.beginStream(body))
        try #require(undisturbed.events.count == 200)

        let id = try await cluster.beginStream(body)
        let second = try cluster.another("orchestrator")
        let follower = Task { try await cluster.stream(id) }
        _ = try await cluster.stream(id) { $0.events.count >= 20 }
        cluster.orchestrator.signal(SIGKILL)
        let survived = try await follower.value
        #expect(survived.events == undisturbed.events)
        #expect(survived.end?.usage == undisturbed.end?.usage && survived.isDone)
        let outcome = try await settled(id, cluster)
        #expect(outcome.response == undisturbed.text)
        // It did go on from the log rather than being done before the kill.
        #expect(second.log.contains("a turn goes on"), "\(second.log.suffix(2000))")
        #expect(outcome.attempts == 2, "\(second.log)")
        _ = await second.ended(by: SIGKILL)
        await cluster.stop()
    }
}
