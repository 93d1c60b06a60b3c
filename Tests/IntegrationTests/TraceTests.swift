import ChatCore
import Foundation
import RabbitQueue
import RedisStore
import ServiceHarness
import Testing

/// What a collector sees of turns: one trace for each, through every queue, whoever dies on the way.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct TraceTests {
    private static let secret = "Nobody may read this sentence."
    /// What ends last at each service.
    private static let whole: Set = [
        "POST /stream-chat", "generate test-model", "run stream_queue", "settle response_queue",
    ]
    private let engine = ["serve", "--engine", "simulated", "--ttft-ms", "20", "--itl-ms", "15"]

    @Test(.timeLimit(.minutes(3))) func aTurnIsOneTraceThroughItsQueuesAndDeaths() async throws {
        let collector = try await SpanCollector()
        let cluster = try await Cluster(
            .simulated(ttft: 20, itl: 15),
            settings: [
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_EXPORTER_OTLP_HEADERS": "x-scope=tests",
            ])
        // A process ends with the last reference to it.
        let second = try await aNodeDies(cluster, collector)
        let next = try await anOrchestratorDies(cluster, collector)
        try await aTurnIsBuried(cluster, collector)
        try await theCollectorIsAway(cluster, collector)

        #expect(collector.malformed.isEmpty, "\(collector.malformed)")
        #expect(collector.headers["x-scope"] == "tests")
        // Probes were no traces, and what a client wrote, or its key, stands nowhere.
        for span in collector.spans {
            #expect(span.isWhole && !["/health", "/readyz"].contains(span["url.path"]))
            for name in span.attributeNames {
                let text = span[name] ?? ""
                #expect(!text.contains(Self.secret) && !text.contains(cluster.key), "\(span.name): \(name)")
            }
        }
        for process in [second, next] { _ = await process.ended(by: SIGKILL) }
        await cluster.stop()
    }

    /// A client's own trace; the turn's first node is killed in the middle.
    private func aNodeDies(_ cluster: Cluster, _ collector: SpanCollector) async throws -> ServiceProcess {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        let id = try await begin(cluster, tokens: 300, traceparent: "00-\(trace)-00f067aa0ba902b7-01", answers: trace)
        let follower = Task { try await cluster.stream(id) }
        _ = try await cluster.stream(id) { $0.events.count >= 10 }
        let second = try cluster.another("inference-node", engine)
        try await eventually("a second node is there", or: { second.log }) {
            try await withRedis(cluster) { try await NodeDirectory(pool: $0).nodes().count } == 2
        }
        cluster.node.signal(SIGKILL)
        #expect(try await follower.value.end?.status == "done")
        // One that is not to be recorded is carried on all the same.
        let quiet = "0123456789abcdef0123456789abcdef"
        let other = try await begin(cluster, tokens: 5, traceparent: "00-\(quiet)-00f067aa0ba902b7-00", answers: quiet)
        #expect(try await cluster.stream(other).end?.status == "done")

        let spans = try await spans(of: trace, with: Self.whole, collector)
        #expect(Set(spans.map(\.service)) == ["gateway", "orchestrator", "inference-node", "queue-worker"])
        let request = try only("POST /stream-chat", in: spans)
        #expect(request.parentSpanId == "00f067aa0ba902b7" && request.kind == 2 && request.traceState == "vendor=1")
        #expect(request["http.response.status_code"] == "200" && request["switchboard.turn.id"] == id)
        let accept = try only("accept stream_queue", in: spans, under: request)
        #expect(accept.kind == 4 && accept["messaging.destination.name"] == "stream_queue")
        let run = try only("run stream_queue", in: spans, under: accept)
        #expect(run.kind == 5 && run["messaging.message.id"] == id && run["switchboard.redelivered"] == "false")
        #expect(run["switchboard.status"] == "done" && run.traceState == "vendor=1")
        _ = try only("plan", in: spans, under: run)
        #expect(spans.filter { $0.name == "place" && $0.parentSpanId == run.spanId }.count == 2)
        let attempts = spans.filter { $0.name == "chat test-model" }.sorted {
            $0.startTimeUnixNano < $1.startTimeUnixNano
        }
        try #require(attempts.count == 2, "\(spans.map(\.name))")
        #expect(attempts.allSatisfy { $0.parentSpanId == run.spanId && $0.kind == 3 })
        #expect(attempts[0].hasFailed && attempts[0].status?.message == "the node was lost")
        #expect(!attempts[1].hasFailed && attempts[1]["switchboard.end_reason"] == "done")
        let before = try #require(attempts[1]["switchboard.first_token_index"].flatMap { Int($0) })
        let after = try #require(attempts[1]["gen_ai.usage.output_tokens"].flatMap { Int($0) })
        #expect(before >= 10 && before + after == 300)
        // The killed node took its own span with it.
        let generate = try only("generate test-model", in: spans, under: attempts[1])
        #expect(generate["gen_ai.usage.output_tokens"] == "\(after)" && generate.events.map(\.name) == ["first token"])
        let end = try only("end response_queue", in: spans, under: run)
        #expect(end["gen_ai.response.finish_reasons"] == "length")
        #expect(try only("settle response_queue", in: spans, under: end).kind == 5)
        // Whoever follows has a trace of its own, which says whom it followed.
        try await eventually("the reader's span has come") {
            collector.spans.contains { $0.name == "GET /stream/{id}" && $0["switchboard.turn.id"] == id }
        }
        #expect(collector.spans(of: quiet).isEmpty)
        #expect(cluster.orchestrator.log.contains("\"trace_id\":\"\(trace)\""))
        return second
    }

    /// What comes as a context is none; the orchestrator dies, and the one after it is in the same trace.
    private func anOrchestratorDies(_ cluster: Cluster, _ collector: SpanCollector) async throws -> ServiceProcess {
        let answer = try await cluster.send(
            "POST", "/stream-chat", body: body(tokens: 100),
            headers: ["traceparent": "00-xyz", "tracestate": "vendor=1"])
        let trace = try #require(answer.headers["x-trace-id"])
        let id = try #require(answer.json["correlation_id"] as? String)
        #expect(TraceContext(traceparent: "00-\(trace)-00f067aa0ba902b7-01") != nil)
        let follower = Task { try await cluster.stream(id) }
        _ = try await cluster.stream(id) { $0.events.count >= 10 }
        let next = try cluster.another("orchestrator")
        cluster.orchestrator.signal(SIGKILL)
        #expect(try await follower.value.end?.status == "done")

        let spans = try await spans(of: trace, with: Self.whole, collector)
        let accept = try only("accept stream_queue", in: spans)
        // The dead one took its spans with it.
        let run = try only("run stream_queue", in: spans, under: accept)
        #expect(run["switchboard.redelivered"] == "true" && run.events.map(\.name).contains("goes on"))
        let end = try only("end response_queue", in: spans, under: run)
        _ = try only("settle response_queue", in: spans, under: end)
        #expect(spans.allSatisfy { $0.traceState == nil })
        return next
    }

    private func aTurnIsBuried(_ cluster: Cluster, _ collector: SpanCollector) async throws {
        let trace = "11112222333344445555666677778888"
        _ = try await withTurn(cluster) { turn in
            var turn = turn
            turn.traceparent = "00-\(trace)-00f067aa0ba902b7-01"
            let body = Array(try JSONEncoder().encode(turn))
            try await publish(OutgoingMessage(queue: Topology.deadLetterQueue, body: body, id: "\(turn.id)"), cluster)
        }
        let spans = try await spans(of: trace, with: ["bury dead_letter_queue", "settle response_queue"], collector)
        let bury = try only("bury dead_letter_queue", in: spans)
        #expect(bury.parentSpanId == "00f067aa0ba902b7" && bury.service == "queue-worker" && bury.kind == 5)
        _ = try only("settle response_queue", in: spans, under: bury)
    }

    private func theCollectorIsAway(_ cluster: Cluster, _ collector: SpanCollector) async throws {
        await collector.stop()
        for _ in 0..<3 {
            let id = try await begin(cluster, tokens: 5, traceparent: nil, answers: nil)
            #expect(try await cluster.stream(id).end?.status == "done")
            _ = try await settled(id, cluster)
        }
    }

    // MARK: Helpers

    private func body(tokens: Int) throws -> [UInt8] {
        let fields: [String: Any] = [
            "message": Self.secret, "user_id": "ann", "max_tokens": tokens, "seed": 5, "stop": ["Nobody may"],
        ]
        return Array(try JSONSerialization.data(withJSONObject: fields))
    }

    private func begin(
        _ cluster: Cluster, tokens: Int, traceparent: String?, answers trace: String?
    ) async throws -> String {
        var headers = ["tracestate": "vendor=1"]
        headers["traceparent"] = traceparent
        let answer = try await cluster.send("POST", "/stream-chat", body: body(tokens: tokens), headers: headers)
        if let trace { #expect(answer.headers["x-trace-id"] == trace) }
        return try #require(answer.json["correlation_id"] as? String, "\(answer.text)")
    }

    /// The trace, once spans of these names have come: each service sends what has ended in the order in which it ended.
    private func spans(
        of trace: String, with names: Set<String>, _ collector: SpanCollector
    ) async throws -> [CollectedSpan] {
        try await eventually("the trace is whole", or: { "\(collector.spans(of: trace).map(\.name))" }) {
            names.isSubset(of: collector.spans(of: trace).map(\.name))
        }
        return collector.spans(of: trace)
    }

    private func only(
        _ name: String, in spans: [CollectedSpan], under parent: CollectedSpan? = nil
    ) throws -> CollectedSpan {
        let found = spans.filter { $0.name == name }
        try #require(found.count == 1, "\(found.count) of \(name) among \(spans.map(\.name))")
        if let parent { #expect(found[0].parentSpanId == parent.spanId, "\(name) is not under \(parent.name)") }
        return found[0]
    }
}
