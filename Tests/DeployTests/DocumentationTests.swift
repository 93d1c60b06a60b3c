import Foundation
import ServiceKit
import Testing

/// docs/observability.md says what there is.
struct DocumentationTests {
    private static let lines = Result {
        try String(contentsOf: PrometheusFiles.repository.appending(path: "docs/observability.md"), encoding: .utf8)
            .split(separator: "\n").map(String.init)
    }

    /// The tables of metrics are the catalogue's, word for word; the missing rows of a failure can be pasted.
    @Test func everyMetricHasItsRow() throws {
        let lines = try Self.lines.get()
        let expected = Measures.catalogue.map { measure in
            let labels = measure.labels.map { "`\($0)`" }.joined(separator: " ")
            return "| `\(measure.name)` | \(measure.type) | \(labels.isEmpty ? "" : "\(labels) ")| \(measure.help) |"
        }
        let missing = expected.filter { !lines.contains($0) }
        #expect(missing.isEmpty, "\(missing.joined(separator: "\n"))")
        let told = lines.filter { $0.contains(/^\| `(switchboard_|vllm:|process_)/) }
        let unknown = told.filter { !expected.contains($0) }
        #expect(unknown.isEmpty, "no such metric:\n\(unknown.joined(separator: "\n"))")
    }

    @Test func everyAlertHasItsRow() throws {
        let lines = try Self.lines.get()
        let alerts = try AlertRule.all()
        for alert in alerts {
            let severity = alert.lines.contains("labels: {severity: critical}") ? "critical" : "warning"
            #expect(lines.contains { $0.hasPrefix("| \(alert.name) | \(severity) | ") }, "\(alert.name)")
        }
        let told = lines.filter { $0.contains(/^\| [A-Za-z]+ \| (critical|warning) \|/) }
        #expect(told.count == alerts.count)
    }
}
