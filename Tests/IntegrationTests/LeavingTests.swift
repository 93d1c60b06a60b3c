import AsyncHTTPClient
import Foundation
import RedisStore
import ServiceHarness
import Testing

/// What a client's absence means for its turn.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct LeavingTests {
    @Test(.timeLimit(.minutes(3))) func aClientThatLeavesEndsItsTurn() async throws {
        // Twenty milliseconds a token: none of these answers would end within minutes.
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 20), settings: ["DETACH_GRACE": "1s"])
        // A chat cannot be resumed: its end is the end of the connection.
        let long: [String: Any] = ["message": "Write a very long story.", "max_tokens": 4000, "temperature": 1.2]
        let request = cluster.request(
            "POST", "/chat",
            body: Array(try JSONSerialization.data(withJSONObject: long.merging(["user_id": "leaver"]) { $1 })))
        let chat = Task { try await HTTPClient.shared.execute(request, timeout: .seconds(60)) }
        try await eventually("the node runs the chat") { try await running(cluster) == 1 }
        chat.cancel()
        _ = await chat.result
        try await eventually("the chat's blocks are free", or: { cluster.logs }) { try await running(cluster) == 0 }

        // A stream is detached, and cancelled when nobody has come back within the grace.
        let id = try await cluster.beginStream(long.merging(["user_id": "wanderer"]) { $1 })
        let part = try await cluster.stream(id) { $0.events.count >= 5 }
        #expect(part.end == nil)
        // Settled as cancelled before anybody reads again: reading would be coming back.
        let outcome = try await settled(id, cluster)
        let rest = try await cluster.stream(id, lastEventID: part.ids.last)
        #expect(rest.end?.status == "cancelled" && rest.ids.first == (part.ids.last ?? -2) + 1)
        #expect(outcome.status == .cancelled && outcome.response == part.text + rest.text)
        try await eventually("the stream's blocks are free", or: { cluster.logs }) { try await running(cluster) == 0 }

        // Nobody ever reads this one; and an asynchronous turn needs no reader.
        let unread = try await cluster.beginStream(long.merging(["user_id": "shy"]) { $1 })
        let later = try await cluster.post(
            "/async-chat", long.merging(["user_id": "patient", "max_tokens": 150]) { $1 })
        #expect(try await settled(unread, cluster).status == .cancelled)
        #expect(try await settled(try #require(later.json["correlation_id"] as? String), cluster).status == .done)
        await cluster.stop()
    }

    private func running(_ cluster: Cluster) async throws -> Int {
        try await withRedis(cluster) { redis in
            try await NodeDirectory(pool: redis).nodes().reduce(0) { $0 + $1.running + $1.waiting }
        }
    }
}
