import Foundation
import ServiceHarness
import ServiceKit
import TestServers
import Testing

/// The metrics of a whole cluster after turns that are known.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct MetricsTests {
    private static let groups = [
        "gateway": "gateway", "orchestrator": "orchestrator", "queue-worker": "queue worker",
        "inference-node": "inference node",
    ]

    @Test(.timeLimit(.minutes(2))) func everyTurnIsCountedOnceByEveryService() async throws {
        let cluster = try await Cluster(.simulated(ttft: 30, itl: 5))
        func body(_ user: String, _ tokens: Int) -> [String: Any] {
            ["message": "Hi", "user_id": user, "max_tokens": tokens]
        }
        // Two streams, one of them read in two parts, a chat, an asynchronous turn, and one that its client cancels.
        let first = try await cluster.stream(try await cluster.beginStream(body("ann", 10)))
        let second = try await cluster.beginStream(body("bob", 40))
        let part = try await cluster.stream(second) { $0.events.count >= 5 }
        let seen: Int = try #require(part.ids.last)
        let rest = try await cluster.stream(second, lastEventID: seen)
        #expect(try await cluster.post("/chat", body("cid", 7)).status == 200)
        let later = try await cluster.post("/async-chat", body("dan", 9))
        let cancelled = try await cluster.beginStream(body("eve", 2000))
        _ = try await cluster.stream(cancelled) { $0.events.count >= 3 }
        #expect(try await cluster.send("DELETE", "/stream/\(cancelled)", body: nil).status == 202)
        let end = try #require(try await cluster.stream(cancelled).end)
        #expect(try await cluster.post("/chat", ["message": "Hi", "user_id": "ann", "model": "another"]).status == 400)
        let id = try #require(later.json["correlation_id"] as? String)
        try await eventually("the asynchronous turn ends") {
            try await cluster.get("/check-response/\(id)").json["response"] != nil
        }
        let usages = [first.end, rest.end, end].compactMap { $0?.usage }
        #expect(usages.count == 3)

        var all = try await cluster.scrapes()
        func value(_ service: String, _ name: String, _ labels: [String: String] = [:]) -> Double? {
            all[service]?.value(name, labels)
        }
        try await eventually("all five are settled, and nobody holds one", or: { cluster.logs }) {
            all = try await cluster.scrapes()
            return value("queue-worker", "switchboard_settled_turns_total") == 5
                && value("orchestrator", "switchboard_turns_held") == 0
                // The worker looks at the queues now and then.
                && value("queue-worker", "switchboard_queue_consumers", ["queue": "stream_queue"]) == 1
        }

        // The gateway
        #expect(value("gateway", "switchboard_turns_accepted_total", ["kind": "stream", "tier": "standard"]) == 3)
        #expect(value("gateway", "switchboard_turns_accepted_total") == 5)
        #expect(value("gateway", "switchboard_turns_refused_total", ["reason": "invalid_request"]) == 1)
        #expect(value("gateway", "switchboard_turns_refused_total") == 1)
        #expect(value("gateway", "switchboard_stream_resumes_total") == 1)
        #expect(value("gateway", "switchboard_open_streams") == 0)
        #expect(try #require(value("gateway", "switchboard_connections")) >= 1)
        #expect(value("gateway", "switchboard_accept_seconds_count", ["stage": "own"]) == 5)
        #expect(try #require(value("gateway", "switchboard_stream_write_seconds_count")) >= 4)
        #expect(value("gateway", "switchboard_requests_total", ["route": "/chat", "status": "400"]) == 1)
        #expect(try #require(value("gateway", "switchboard_broker_confirm_seconds_count")) >= 5)

        // The orchestrator: what the clients were told is what was counted.
        let ended = "switchboard_turns_ended_total"
        #expect(value("orchestrator", ended, ["status": "done", "kind": "stream"]) == 2)
        #expect(value("orchestrator", ended, ["status": "cancelled", "kind": "stream"]) == 1)
        #expect(value("orchestrator", ended) == 5)
        let completion = Double(usages.reduce(16) { $0 + $1.completion_tokens })
        #expect(
            value("orchestrator", "switchboard_tokens_total", ["type": "completion", "tenant": "default"]) == completion
        )
        for name in ["wait", "first_token", ""].map({ "switchboard_turn_\($0)\($0.isEmpty ? "" : "_")seconds" }) {
            #expect(value("orchestrator", name + "_count") == 5, "\(name)")
        }
        // A first token takes 30 ms at the node, and the whole way no minute.
        let wholeWay = try #require(value("orchestrator", "switchboard_turn_first_token_seconds_sum"))
        #expect(wholeWay >= 5 * 0.03 && wholeWay < 60)
        #expect(value("orchestrator", "switchboard_turn_retries_total") == 0)

        // The node
        #expect(value("inference-node", "vllm:request_success_total", ["finished_reason": "length"]) == 4)
        #expect(value("inference-node", "vllm:request_success_total", ["finished_reason": "abort"]) == 1)
        #expect(value("inference-node", "vllm:time_to_first_token_seconds_count", ["model_name": "test-model"]) == 5)
        #expect(value("inference-node", "vllm:num_requests_running") == 0)
        let generated = try #require(value("inference-node", "vllm:generation_tokens_total"))
        #expect(generated >= completion)
        // Each token but the first of its turn has one before it.
        #expect(value("inference-node", "vllm:inter_token_latency_seconds_count") == generated - 5)
        let prompts = try #require(value("inference-node", "vllm:prompt_tokens_total"))
        #expect(value("orchestrator", "switchboard_tokens_total", ["type": "prompt"]) == prompts)

        // The worker
        #expect(try #require(value("queue-worker", "switchboard_settle_lag_seconds_count")) == 5)
        #expect(value("queue-worker", "switchboard_queue_messages", ["queue": "dead_letter_queue"]) == 0)
        #expect(value("queue-worker", "switchboard_queue_consumers", ["queue": "stream_queue"]) == 1)
        #expect(value("queue-worker", "switchboard_queue_age_seconds") == 0)
        #expect(value("queue-worker", "switchboard_dead_letters_kept") == 0)

        for (service, scrape) in all { try await everyMeasureIsThere(scrape, of: service) }
        for (service, scrape) in all { try await promtoolIsContent(scrape, of: service, folder: cluster.folder) }
        await cluster.stop()
    }

    /// Nothing is shown that is not declared, and nothing declared that is not shown.
    private func everyMeasureIsThere(_ scrape: Scrape, of service: String) async throws {
        let titles = ["everybody", try #require(MetricsTests.groups[service])]
        let measures = Measures.groups.filter { titles.contains($0.title) }.flatMap(\.measures)
        let declared = Dictionary(uniqueKeysWithValues: measures.map { ($0.name, $0.type) })
        #expect(scrape.types.filter { declared[$0.key] != $0.value } == [:], "\(service)")
        #expect(
            scrape.help
                == Dictionary(
                    uniqueKeysWithValues: measures.filter { scrape.types[$0.name] != nil }.map { ($0.name, $0.help) }))
        // The node has no database, the simulated engine no steps; and only the worker and the gateway inspect queues.
        let absent =
            service == "inference-node"
            ? [
                "switchboard_shard_query_seconds", "switchboard_pool_wait_seconds", "switchboard_pool_connections",
                "switchboard_broker_confirm_seconds",
            ] : []
        for name in declared.keys where !absent.contains(name) {
            #expect(scrape.types[name] != nil, "\(service) shows no \(name)")
        }
    }

    /// Of the names that dashboards for inference servers ask for the linter does not like the colon; of ours nothing.
    private func promtoolIsContent(_ scrape: Scrape, of service: String, folder: String) async throws {
        let file = "\(folder)/\(service).metrics"
        try scrape.text.write(toFile: file, atomically: true, encoding: .utf8)
        let unpacked = "\(URL(filePath: #filePath).deletingLastPathComponent().path)/../../.local/prometheus/usr/bin"
        let program = "\(unpacked)/promtool"
        let result = try await Program.run(
            FileManager.default.isExecutableFile(atPath: program) ? program : "promtool", ["check", "metrics"],
            input: file)
        let complaints = result.text.split(separator: "\n").filter {
            !($0.hasPrefix("vllm:") && $0.hasSuffix("metric names should not contain ':'"))
        }
        #expect(complaints == [], "\(service)")
        #expect(result.status == 0 || service == "inference-node", "\(service): \(result.text)")
    }
}
