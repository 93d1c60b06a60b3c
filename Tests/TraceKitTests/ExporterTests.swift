import ChatCore
import Foundation
import Logging
import Metrics
import ServiceHarness
import ServiceKit
import ServiceLifecycle
import Testing
import Tracing

@testable import TraceKit

/// The exporter as a service, against a collector in this process.
@Suite struct ExporterTests {
    private static let quick: SpanExporter.Limits = {
        var limits = SpanExporter.Limits()
        limits.interval = .milliseconds(5)
        // Far beyond what an answer takes: beside tests that fill every core it may take half a minute to be heard.
        limits.timeout = .seconds(90)
        limits.backoff = Backoff(base: .milliseconds(1), cap: .milliseconds(5))
        limits.farewell = .seconds(90)
        return limits
    }()

    private struct Running {
        let exporter: SpanExporter
        let tracer: SpanTracer
        let registry: MetricRegistry

        func spans(_ count: Int) {
            for number in 0..<count { tracer.startSpan("span \(number)", context: .topLevel).end() }
        }

        func metric(_ name: String) -> Bool { registry.prometheusText().contains("switchboard_trace_spans_\(name)\n") }
    }

    private func running(
        _ endpoint: OTLPEndpoint, limits: SpanExporter.Limits = quick, _ body: (Running) async throws -> Void
    ) async throws {
        let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        let registry = MetricRegistry()
        let exporter = SpanExporter(
            endpoint: endpoint, resource: .process(service: "tests", instance: "1"), limits: limits,
            counts: ExportCounts(registry), logger: logger)
        let group = ServiceGroup(services: [exporter], logger: logger)
        let service = Task { try await group.run() }
        try await body(
            Running(exporter: exporter, tracer: SpanTracer(share: 1) { exporter.take($0) }, registry: registry))
        await group.triggerGracefulShutdown()
        try await service.value
    }

    @Test func spansArriveInBatchesWithTheHeaders() async throws {
        let collector = try await SpanCollector()
        var limits = Self.quick
        limits.batch = 40
        let endpoint = OTLPEndpoint(url: collector.endpoint + "/v1/traces", headers: ["X-Scope": "mine"])
        try await running(endpoint, limits: limits) { running in
            running.spans(100)
            try await eventually("all have come", within: Self.quick.timeout) { collector.spans.count == 100 }
            try await eventually(
                "they are counted", within: Self.quick.timeout, or: { running.registry.prometheusText() }
            ) {
                running.metric("exported_total 100")
            }
        }
        #expect(collector.malformed.isEmpty)
        #expect(Set(collector.spans.map(\.name)).count == 100 && collector.spans.allSatisfy { $0.service == "tests" })
        #expect((3...100).contains(collector.requests))
        #expect(collector.headers["x-scope"] == "mine" && collector.headers["content-type"] == "application/json")
        await collector.stop()
    }

    @Test func whatPassesIsRepeatedAndWhatDoesNotIsDropped() async throws {
        let collector = try await SpanCollector(answers: [
            .init(503), .init(429), .init(200), .init(400),
            .init(200, body: #"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}"#), .init(200, body: "[}"),
        ])
        // One at a time: of several the first may be sent alone.
        try await running(OTLPEndpoint(url: collector.endpoint + "/v1/traces")) { running in
            running.spans(1)
            try await eventually("the third try is taken", within: Self.quick.timeout) {
                running.metric("exported_total 1")
            }
            running.spans(1)
            try await eventually("refused", within: Self.quick.timeout) {
                running.metric(#"dropped_total{reason="refused"} 1"#)
            }
            running.spans(1)
            try await eventually("rejected", within: Self.quick.timeout) {
                running.metric(#"dropped_total{reason="refused"} 2"#)
            }
            // An answer that is no JSON is an answer all the same.
            running.spans(1)
            try await eventually("taken", within: Self.quick.timeout) { running.metric("exported_total 2") }
            #expect(collector.requests == 6)
        }
        await collector.stop()
    }

    @Test func aCollectorThatIsAwayCostsNothingButSpans() async throws {
        var limits = Self.quick
        limits.waiting = 50
        limits.interval = .seconds(3600)
        // The client goes on connecting for so long, and when it stops it tries once more.
        limits.timeout = .milliseconds(500)
        limits.farewell = .milliseconds(200)
        // Nobody listens there: the port was free a moment ago.
        let endpoint = OTLPEndpoint(url: "http://127.0.0.1:\(try freePort())/v1/traces")
        try await running(endpoint, limits: limits) { running in
            running.spans(1)
            try await eventually("given up", within: Self.quick.timeout) {
                running.metric(#"dropped_total{reason="unreachable"} 1"#)
            }
            // It collects for an hour now: the rest finds no room, and whoever ends a span does not wait.
            running.spans(60)
            #expect(running.metric(#"dropped_total{reason="no_room"} 10"#), "\(running.registry.prometheusText())")
        }
    }

    @Test func whatIsLeftIsSentWhenTheProcessStops() async throws {
        let collector = try await SpanCollector()
        try await running(OTLPEndpoint(url: collector.endpoint + "/v1/traces")) { $0.spans(10) }
        #expect(collector.spans.count == 10)
        await collector.stop()
    }
}
