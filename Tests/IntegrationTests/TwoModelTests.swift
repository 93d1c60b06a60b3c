import Foundation
import RedisStore
import ServiceHarness
import Testing

/// The real model at two nodes, and its full-precision twin at another as the lighter model that requests get under load.
@Suite(
    .enabled(
        if: Cluster.hasModel && TestModel.hasTwin, "needs the model that deploy/local/setup fetches, and its twin"),
    .serialized)
struct TwoModelTests {
    @Test(.timeLimit(.minutes(5))) func degradedTurnsAreTheOtherModelsAndHedgedOnesAreOnce() async throws {
        let cluster = try await Cluster(
            .llama,
            settings: [
                "MAX_CONCURRENT": "2", "RATE_LIMIT_STREAM": "0", "ADMISSION_STANDARD": "2s", "DEGRADE_AT": "1",
                "DEGRADE_MODEL": "twin", "DEGRADE_MODEL_PATH": TestModel.twinPath, "TURN_HEDGE_BUDGET": "100",
            ])
        let premium = try await Executable.output(
            "switchboard", ["keys", "create", "--name", "premium", "--tier", "premium"],
            environment: cluster.environment)

        // Nobody serves the lighter model yet: whoever names no model keeps the standard one.
        let standard = try await cluster.stream(try await cluster.beginStream(body("ann")))
        #expect(standard.end?.status == "done" && standard.end?.degradation == nil)
        let twin = try await joined(cluster, model: "twin", path: TestModel.twinPath)
        // The twin's answer, under the twin's name, and what was asked for beside it: as soon as the gateway knows of that
        // node, and that a first token takes more than the hundredth of the bound.
        var (degraded, undisturbed) = ("", standard)
        try await eventually("a turn is degraded", or: { cluster.logs }) {
            degraded = try await cluster.beginStream(body("cleo"))
            undisturbed = try await cluster.stream(degraded)
            return undisturbed.end?.degradation != nil
        }
        #expect(undisturbed.end?.model == "twin" && undisturbed.end?.degradation?.steps == ["lighter_model"])
        #expect(undisturbed.end?.degradation?.requested_model == "test-model")
        #expect(undisturbed.ids == Array(0..<60) && undisturbed.text != standard.text)
        let tokens = try Scrape(try await twin.asked("/metrics").text).value("vllm:generation_tokens_total")
        #expect(tokens == 60)
        #expect(try await settled(degraded, cluster).degradation?.requestedModel == "test-model")
        // Whoever names the model keeps it.
        let named = try await cluster.stream(try await cluster.beginStream(body("dora", model: "test-model")))
        #expect(named.end?.model == "test-model" && named.end?.degradation == nil && named.text == standard.text)

        // The only node of that model dies in the middle: the turn waits for another one and goes on there.
        let orphan = try await cluster.beginStream(body("emil"))
        async let whole = cluster.stream(orphan)
        _ = try await cluster.stream(orphan) { $0.events.count >= 10 }
        _ = await twin.ended(by: SIGKILL)
        let heir = try await joined(cluster, model: "twin", path: TestModel.twinPath)
        let survivor = try await whole
        #expect(survivor.end?.status == "done" && survivor.end?.model == "twin", "\(cluster.logs)")
        #expect(survivor.text == undisturbed.text && survivor.ids == undisturbed.ids)

        // Two nodes of one model begin a premium turn; one of them goes on, and the client has each token once.
        let second = try await joined(cluster, model: "test-model", path: TestModel.path)
        try await eventually("the slower node was told to stop", or: { cluster.orchestrator.log }) {
            let answer = try await cluster.post("/stream-chat", body("fred", model: "test-model"), key: premium)
            let id = try #require(answer.json["correlation_id"] as? String, "\(answer.text)")
            let once = try await cluster.stream(id, key: premium)
            #expect(once.text == standard.text && once.ids == standard.ids && once.end?.usage == standard.end?.usage)
            var aborted = 0.0
            for node in [cluster.node, second] {
                let scrape = try Scrape(try await node.asked("/metrics").text)
                aborted += scrape.value("vllm:request_success_total", ["finished_reason": "abort"]) ?? 0
            }
            return aborted > 0
        }
        for node in [second, heir] { _ = await node.ended(by: SIGKILL) }
        await cluster.stop()
    }

    private func body(_ user: String, model: String? = nil) -> [String: Any] {
        var body: [String: Any] = ["message": "Tell me a long story.", "user_id": user, "max_tokens": 60, "seed": 3]
        if let model { body["model"] = model }
        return body
    }

    private func joined(_ cluster: Cluster, model: String, path: String) async throws -> ServiceProcess {
        // A node that was killed is announced until its announcement expires.
        let before = try await withRedis(cluster) { Set(try await NodeDirectory(pool: $0).nodes().map(\.id)) }
        let node = try cluster.another(
            "inference-node", ["serve"], settings: ["MODEL_NAME": model, "MODEL_PATH": path])
        try await eventually("a node of \(model) is there", or: { node.log }) {
            try await withRedis(cluster) { redis in
                try await NodeDirectory(pool: redis).nodes().contains { $0.model == model && !before.contains($0.id) }
            }
        }
        return node
    }
}
