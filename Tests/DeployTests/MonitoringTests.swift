import Foundation
import ServiceHarness
import ServiceKit
import Testing

/// A real Prometheus over a real cluster: every rule is evaluated, every panel has something to show.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct MonitoringTests {
    /// Only with a collector, which this cluster has none of.
    private static let ofTraces: Set = [
        "switchboard_trace_spans_exported_total", "switchboard_trace_spans_dropped_total",
    ]
    /// What a simulated engine has none of: their series are here, and no values.
    private static let ofRealEngines: Set = [
        "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total", "switchboard_engine_step_seconds_bucket",
        "switchboard_engine_step_tokens_bucket",
    ]

    @Test(.timeLimit(.minutes(3))) func everyRuleAndEveryPanelHasItsMetrics() async throws {
        let cluster = try await Cluster(.simulated(ttft: 5, itl: 2))
        let services = [cluster.orchestrator, cluster.worker, cluster.node]
        try await eventually("all have said their ports", or: { cluster.logs }) {
            services.allSatisfy { $0.operatorPort != nil }
        }
        let prometheus = try PrometheusServer(over: cluster)
        try await work(of: cluster, "first")
        try await eventually("all four are scraped", or: { prometheus.process.log }) {
            try await prometheus.query("up == 1").count == 4
        }

        try await everyMetricOfOursIsScraped(prometheus)
        try await everyRuleIsEvaluated(prometheus)
        try await everyPanelShowsSomething(prometheus, cluster)
        try await nothingIsAlarmedUntilSomethingDies(prometheus, cluster)
        _ = await prometheus.process.ended(by: SIGKILL)
        await cluster.stop()
    }

    /// Turns of every kind, one of them read twice.
    private func work(of cluster: Cluster, _ user: String) async throws {
        let body: [String: Any] = ["message": "Hello", "user_id": user, "max_tokens": 8]
        let id = try await cluster.beginStream(body)
        _ = try await cluster.stream(id) { $0.events.count >= 2 }
        _ = try await cluster.stream(id, lastEventID: 1)
        _ = try await cluster.post("/chat", body)
        _ = try await cluster.post("/async-chat", body)
    }

    private func everyMetricOfOursIsScraped(_ prometheus: PrometheusServer) async throws {
        var missing: Set<String> = []
        try await eventually("every metric is scraped", or: { "\(missing.sorted())" }) {
            let names = try await prometheus.metricNames()
            missing = Set(
                Measures.catalogue.map { $0.type == "histogram" ? "\($0.name)_bucket" : $0.name }
                    .filter { !names.contains($0) && !MonitoringTests.ofTraces.contains($0) })
            return missing.isEmpty
        }
        // And nothing is shown that the catalogue, and with it the documentation, does not know.
        for name in try await prometheus.metricNames() where name.contains(/^(switchboard_|vllm:|process_)/) {
            #expect(QueriedMetrics.measure(name) != nil, "\(name) stands in no catalogue")
        }
    }

    private func everyRuleIsEvaluated(_ prometheus: PrometheusServer) async throws {
        let expected = try AlertRule.all().count + AlertRule.recordings().count
        try await eventually("every rule has been evaluated") {
            let rules = try await prometheus.rules()
            return rules.count == expected && rules.allSatisfy { $0.health != "unknown" }
        }
        for rule in try await prometheus.rules() {
            #expect(rule.health == "ok", "\(rule.name): \(rule.lastError ?? "")")
        }
    }

    private func everyPanelShowsSomething(_ prometheus: PrometheusServer, _ cluster: Cluster) async throws {
        var left = try Dashboard.all().flatMap(\.expressions).filter { query in
            QueriedMetrics(query.expression).names.isDisjoint(with: MonitoringTests.ofTraces)
        }
        #expect(left.count > 100)
        // Rates and quantiles want counters that rise between two scrapes. Each round is another user's: of one user so many
        // turns a minute are let through.
        var round = 0
        try await eventually(
            "every panel shows something", within: .seconds(40),
            or: { left.map { "\($0.panel): \($0.expression)" }.joined(separator: "\n") }
        ) {
            round += 1
            try await work(of: cluster, "user\(round)")
            var empty: [(panel: String, expression: String)] = []
            for query in left {
                if try await !shows(query.expression, prometheus) { empty.append(query) }
            }
            left = empty
            return left.isEmpty
        }
    }

    /// Values; of what a simulated engine has none of, the series that the query is made of.
    private func shows(_ expression: String, _ prometheus: PrometheusServer) async throws -> Bool {
        let names = QueriedMetrics(expression).names
        guard names.isDisjoint(with: MonitoringTests.ofRealEngines) else {
            for name in names where try await prometheus.query(name).isEmpty { return false }
            return true
        }
        return try await prometheus.query(expression).contains { $0.value.1 != "NaN" }
    }

    private func nothingIsAlarmedUntilSomethingDies(_ prometheus: PrometheusServer, _ cluster: Cluster) async throws {
        // How long something takes says more of the machine that tests than of the rules.
        let ofTimes = Set(try AlertRule.all().filter { $0.expression.contains("histogram_quantile") }.map(\.name))
        let alarmed = try await prometheus.rules().filter {
            ($0.state == "pending" || $0.state == "firing") && !ofTimes.contains($0.name)
        }
        #expect(alarmed.isEmpty, "\(alarmed.map(\.name))")
        _ = await cluster.worker.ended(by: SIGKILL)
        try await eventually("the worker's death is seen") {
            try await prometheus.rules().contains { $0.name == "ServiceDown" && $0.state == "pending" }
        }
    }
}
