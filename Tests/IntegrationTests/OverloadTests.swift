import ChatCore
import Foundation
import PostgresStore
import RedisStore
import ServiceHarness
import Testing

/// More than a cluster can do: half a second for each turn, one at a time.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct OverloadTests {
    private static let settings = [
        "MAX_CONCURRENT": "1", "RATE_LIMIT_STREAM": "0", "RATE_LIMIT_CHAT": "0", "MAX_OUTSTANDING_PER_USER": "1000",
        "ADMISSION_PREMIUM": "1m", "ADMISSION_STANDARD": "5s", "ADMISSION_ECONOMY": "2s", "DEGRADE_AT": "20",
        "DEGRADE_MAX_TOKENS": "80", "ANSWER_CACHE": "overload",
    ]
    private let body: [String: Any] = ["message": "Tell me something.", "max_tokens": 100]
    private let constant: [String: Any] = [
        "message": "Always the same?", "user_id": "ann", "max_tokens": 90, "seed": 7,
    ]

    @Test(.timeLimit(.minutes(3))) func overloadIsSaidEarlyAndWhatIsAcceptedIsServed() async throws {
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 5), settings: Self.settings)
        func key(_ tier: String) async throws -> String {
            try await Executable.output(
                "switchboard", ["keys", "create", "--name", tier, "--tier", tier], environment: cluster.environment)
        }
        let (premium, economy) = (try await key("premium"), try await key("economy"))
        // Nothing is known of how long turns take before the first has ended; its answer is kept.
        let first = try await cluster.stream(try await cluster.beginStream(constant))
        #expect(first.end?.status == "done" && first.end?.degradation == nil && first.ids == Array(0..<90))
        try await withRedis(cluster) { redis in
            try await eventually("the load is announced") {
                try await LoadDirectory(pool: redis).loads().contains { $0.serviceSeconds.stream != nil }
            }
        }

        var accepted: [String] = []
        var refusal: HTTPAnswer?
        while refusal == nil, accepted.count < 60 {
            let answer = try await cluster.post(
                "/stream-chat", body.merging(["user_id": "user \(accepted.count)"]) { $1 })
            if let id = answer.json["correlation_id"] as? String { accepted.append(id) } else { refusal = answer }
        }
        // About ten turns take the five seconds; shorter ones that are degraded a few more. After a slow first turn it may be
        // five, of which the last still waits longer than the second from which on answers are shortened.
        #expect((5...30).contains(accepted.count), "\(accepted.count)")
        #expect(refusal?.status == 503 && refusal?.error["code"] as? String == "overloaded", "\(refusal?.text ?? "")")
        #expect((1...300).contains(Int(refusal?.headers["retry-after"] ?? "") ?? 0))
        let lastID = try #require(accepted.last)
        async let following = cluster.stream(lastID)
        // Who was promised less is refused before, who was promised more is not, and batch turns wait.
        let next = body.merging(["user_id": "next"]) { $1 }
        #expect(try await cluster.post("/stream-chat", next, key: economy).status == 503)
        #expect(try await cluster.post("/stream-chat", next, key: premium).status == 200)
        #expect(try await cluster.post("/async-chat", next, key: economy).status == 202)

        // A whole answer that is there already is given at once, although new turns are refused.
        let again = try await cluster.post("/chat", constant.merging(["user_id": "bob"]) { $1 })
        #expect(again.status == 200 && again.json["response"] as? String == first.text, "\(again.text)")
        #expect((again.json["degradation"] as? [String: Any])?["steps"] as? [String] == ["cached_answer"])
        let repeated = try await cluster.beginStream(constant)
        let streamed = try await cluster.stream(repeated)
        #expect(streamed.ids == first.ids && streamed.text == first.text)
        #expect(streamed.end?.degradation?.steps == ["cached_answer"] && streamed.end?.usage == first.end?.usage)
        let stored = try await settled(repeated, cluster)
        #expect(stored.response == first.text && stored.attempts == 0 && stored.degradation?.answerOf != nil)

        // Whoever was accepted late hears where it stands, gets less, is told so, and gets every token once.
        let last = try await following
        #expect(last.waits.first.map { $0.place > 1 && $0.estimated_seconds ?? 0 > 0 } == true, "\(last.waits)")
        #expect(last.waits.map(\.place) == last.waits.map(\.place).sorted(by: >))
        #expect(last.end?.degradation?.steps == ["fewer_tokens"] && last.end?.degradation?.requested_max_tokens == 100)
        #expect(last.ids == Array(0..<80) && last.end?.finish_reason == "length")
        #expect(try await settled(lastID, cluster).degradation?.requestedMaxTokens == 100)

        // When they are through, everybody is welcome again.
        try await eventually("turns are accepted again", or: { cluster.logs }) {
            try await cluster.post("/stream-chat", next, key: economy).status == 200
        }
        await cluster.stop()
    }
}
