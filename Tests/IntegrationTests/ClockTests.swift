import Foundation
import ServiceHarness
import Testing

/// A cluster in which no two services agree about the date, and dates that step while turns run.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct ClockTests {
    @Test(.timeLimit(.minutes(3))) func gatewaysOfOtherDatesShareAConversation() async throws {
        let cluster = try await Cluster(.simulated(ttft: 1, itl: 5))
        var gateways: [OtherGateway] = []
        var processes: [ServiceProcess] = []
        for step in [Duration.seconds(3600), .zero, .seconds(-3600)] {
            let clock = try await SteppedClock(in: cluster.folder)
            try clock.set(off: step)
            let gateway = OtherGateway(port: try freePort(), key: cluster.key)
            processes.append(
                try cluster.another(
                    "gateway", settings: clock.environment.merging(["GATEWAY_PORT": "\(gateway.port)"]) { $1 }))
            try await eventually("a gateway \(step) off is healthy", or: { processes.last?.log ?? "" }) {
                try await gateway.get("/health", key: nil).status == 200
            }
            gateways.append(gateway)
        }
        // Each turn's prompt holds all that were said before it, at whichever gateway that was.
        var body: [String: Any] = ["message": "One more word.", "user_id": "ann", "max_tokens": 5, "seed": 1]
        var tokens: [Int] = []
        func say(at gateway: OtherGateway) async throws {
            let end = try #require(try await gateway.stream(try await gateway.beginStream(body)).end, "\(cluster.logs)")
            #expect(end.status == "done", "\(end)\n\(cluster.logs)")
            body["conversation_id"] = end.conversation_id
            tokens.append(end.usage.prompt_tokens)
        }
        for gateway in gateways + gateways.reversed() { try await say(at: gateway) }
        #expect(zip(tokens, tokens.dropFirst()).allSatisfy { $0 < $1 }, "\(tokens)")
        // The shard keeps the same order as Redis.
        try await eventually("every turn is stored", or: { cluster.logs }) {
            let queues = try await cluster.get("/debug/queue-stats").json
            return (queues["response_queue"] as? [String: Int])?["message_count"] == 0
        }
        try await withRedis(cluster) { redis in _ = try await redis.send("FLUSHALL") }
        try await eventually("a turn is taken again") {
            try await gateways[0].post("/chat", ["message": "Hi", "user_id": "bob", "max_tokens": 1]).status == 200
        }
        for gateway in gateways { try await say(at: gateway) }
        #expect(zip(tokens, tokens.dropFirst()).allSatisfy { $0 < $1 }, "\(tokens)")
        for process in processes { _ = await process.ended(by: SIGKILL) }
        await cluster.stop()
    }

    /// Every service's date steps by an hour and by two while a stream runs, and its orchestrator dies.
    @Test(.timeLimit(.minutes(3))) func streamsOutliveStepsOfEveryServicesDate() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "clocks-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // One clock for all of them: each service's file is the same.
        let clock = try await SteppedClock(in: folder)
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 10), settings: clock.environment)
        let body: [String: Any] = ["message": "Tell me more.", "max_tokens": 1000, "seed": 5]
        let undisturbed = try await cluster.stream(
            try await cluster.beginStream(body.merging(["user_id": "bob"]) { $1 }))
        try #require(undisturbed.events.count == 1000)
        let id = try await cluster.beginStream(body.merging(["user_id": "ann"]) { $1 })
        let follower = Task { try await cluster.stream(id) }
        for (step, count) in [(Duration.seconds(3600), 20), (.seconds(-3600), 60)] {
            _ = try await cluster.stream(id) { $0.events.count >= count }
            try clock.set(off: step)
        }
        let successor = try cluster.another("orchestrator")
        try await eventually("a second orchestrator is there", or: { successor.log }) {
            try await cluster.get("/health", key: nil).json["alive"] as? [String: Int]
                == ["orchestrators": 2, "queue_workers": 1]
        }
        _ = await cluster.orchestrator.ended(by: SIGKILL)
        try clock.set(off: .seconds(3600))
        let survived = try await follower.value
        #expect(survived.events == undisturbed.events && survived.isDone, "\(cluster.logs)\n\(successor.log)")
        let outcome = try await settled(id, cluster)
        #expect(outcome.response == undisturbed.text && outcome.attempts == 2, "\(outcome.attempts)")
        // New turns end too.
        let late = try await cluster.stream(
            try await cluster.beginStream(body.merging(["user_id": "cid"]) { $1 }))
        #expect(late.events == undisturbed.events && late.isDone, "\(cluster.logs)\n\(successor.log)")
        await cluster.stop()
    }
}
