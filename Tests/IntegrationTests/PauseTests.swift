import Foundation
import ServiceHarness
import Testing

/// An orchestrator that is stopped long enough to lose its turns does no harm when it wakes up.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct PauseTests {
    @Test(.timeLimit(.minutes(3))) func aPausedOrchestratorWakesUpFenced() async throws {
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 20))
        let body: [String: Any] = ["message": "Tell me more.", "max_tokens": 300, "seed": 5]
        let id = try await cluster.beginStream(body.merging(["user_id": "ann"]) { $1 })
        let follower = Task { try await cluster.stream(id) }
        _ = try await cluster.stream(id) { $0.events.count >= 20 }
        cluster.orchestrator.signal(SIGSTOP)
        // The broker gives a silent consumer up after about three heartbeats; meanwhile others' turns go on.
        let second = try cluster.another("orchestrator")
        let undisturbed = try await cluster.stream(
            try await cluster.beginStream(body.merging(["user_id": "bob"]) { $1 }))
        try #require(undisturbed.events.count == 300)
        try await eventually("another goes on", within: .seconds(60), or: { second.log }) {
            second.log.contains("a turn goes on")
        }
        // It wakes up in the middle of the other's work, with tokens of its own attempt in its inbox.
        cluster.orchestrator.signal(SIGCONT)
        let survived = try await follower.value
        #expect(survived.events == undisturbed.events)
        #expect(survived.end?.usage == undisturbed.end?.usage && survived.isDone)
        let outcome = try await settled(id, cluster)
        #expect(outcome.response == undisturbed.text && outcome.attempts == 2)
        let log = try #require(outcome.attemptLog)
        #expect(log.map(\.endReason) == ["its orchestrator was gone", "done"] && log[0].epoch < log[1].epoch)
        // It has neither ended nor acknowledged the turn, and it works on.
        #expect(!cluster.orchestrator.log.contains("a turn ended"), "\(cluster.orchestrator.log.suffix(3000))")
        _ = await second.ended(by: SIGTERM)
        let last = try await cluster.stream(
            try await cluster.beginStream(["message": "Hi", "user_id": "cid", "max_tokens": 5]))
        #expect(last.end?.status == "done", "\(cluster.logs)")
        await cluster.stop()
    }
}
