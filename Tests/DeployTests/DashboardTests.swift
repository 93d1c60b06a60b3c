import Foundation
import ServiceHarness
import ServiceKit
import Testing

/// deploy/grafana and the queries of deploy/prometheus, against the metrics that there are.
struct DashboardTests {
    @Test func dashboardsAreWholeAndTheirPanelsStandApart() throws {
        let dashboards = try Dashboard.all()
        #expect(dashboards.count == 3)
        #expect(Set(dashboards.map(\.uid)).count == dashboards.count)
        for dashboard in dashboards {
            #expect(Set(dashboard.panels.map(\.id)).count == dashboard.panels.count, "\(dashboard.title)")
            var taken: Set<[Int]> = []
            for panel in dashboard.panels {
                let place = panel.gridPos
                #expect(place.x >= 0 && place.w > 0 && place.x + place.w <= 24, "\(panel.title)")
                for x in place.x..<(place.x + place.w) {
                    for y in place.y..<(place.y + place.h) {
                        #expect(taken.insert([x, y]).inserted, "\(dashboard.title): \(panel.title) covers another")
                    }
                }
                guard panel.type != "row" else { continue }
                #expect(panel.description?.isEmpty == false, "\(panel.title) says nothing of itself")
                #expect(panel.targets?.isEmpty == false, "\(panel.title) asks nothing")
            }
        }
    }

    /// An average hides the one that waits: no query divides a histogram's sum by its count, or averages over processes.
    @Test func theyShowDistributionsAndNoAverages() throws {
        let dashboards = try Dashboard.all()
        for (panel, expression) in dashboards.flatMap(\.expressions) {
            #expect(!expression.contains("_sum") && !expression.contains(/\bavg/), "\(panel): \(expression)")
        }
        for panel in dashboards.flatMap(\.panels) where panel.type == "heatmap" {
            #expect(panel.targets?.allSatisfy { $0.format == "heatmap" && $0.expr.contains("sum by (le)") } == true)
        }
        // Each latency that has a heatmap anywhere is shown by its quantiles too.
        let expressions = dashboards.flatMap(\.expressions).map(\.expression)
        for measure in Measures.catalogue where measure.type == "histogram" {
            #expect(
                expressions.contains { $0.contains("histogram_quantile") && $0.contains("\(measure.name)_bucket") }
                    || expressions.contains { $0.contains("increase(\(measure.name)_bucket") }, "\(measure.name)")
        }
    }

    @Test func everyQueryIsOneThatPrometheusTakes() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "queries-\(UUID().uuidString).yml")
        defer { try? FileManager.default.removeItem(at: file) }
        var rules = "groups:\n  - name: dashboards\n    rules:\n"
        for (index, query) in try Dashboard.all().flatMap(\.expressions).enumerated() {
            rules += "      - {record: 'panel:\(index)', expr: \(try quoted(query.expression))}\n"
        }
        try rules.write(to: file, atomically: true, encoding: .utf8)
        let result = try await PrometheusFiles.promtool(["check", "rules", "--lint=none", file.path])
        #expect(result.status == 0, "\(result.text)")
    }

    /// A metric that was renamed must not leave a rule or a panel behind that is empty for ever.
    @Test func everyMetricThatIsAskedForIsOneOfOurs() throws {
        let recorded = Dictionary(
            try AlertRule.recordings().map { ($0.name, QueriedMetrics($0.expression).labels) },
            uniquingKeysWith: { $0.union($1) })
        var queries = try Dashboard.all().flatMap(\.expressions)
        queries += try AlertRule.all().map { ($0.name, $0.expression) }
        queries += try AlertRule.recordings().map { ($0.name, $0.expression) }
        queries += try Dashboard.all().flatMap { dashboard in
            dashboard.templating.list.compactMap(\.definition).map { definition in
                (
                    "\(dashboard.title): a variable",
                    definition.replacing(/label_values\((.*), (.*)\)/) { "\($0.1){\($0.2)=\"\"}" }
                )
            }
        }
        // What Prometheus sets by itself.
        let everywhere: Set = ["job", "instance", "le"]
        for (place, query) in queries {
            let asked = QueriedMetrics(query)
            var labels = everywhere
            for name in asked.names {
                if let kept = recorded[name] {
                    labels.formUnion(kept)
                    continue
                }
                let measure = QueriedMetrics.measure(name)
                #expect(measure != nil, "\(place): there is no metric \(name)")
                labels.formUnion(measure?.labels ?? [])
            }
            #expect(asked.labels.isSubset(of: labels), "\(place): \(asked.labels.subtracting(labels)) in \(query)")
        }
    }

    /// Double-quoted YAML takes what JSON writes.
    private func quoted(_ text: String) throws -> String {
        String(decoding: try JSONEncoder().encode(text), as: UTF8.self).replacing("\\/", with: "/")
    }
}
