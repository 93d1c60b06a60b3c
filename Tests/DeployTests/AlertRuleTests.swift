import Foundation
import ServiceHarness
import Testing

/// The alerts by their own tests (`promtool test rules`), and those tests by rules that are wrong.
struct AlertRuleTests {
    @Test func theRulesPassTheirTests() async throws {
        for file in try PrometheusFiles.files(in: "tests") {
            let result = try await PrometheusFiles.promtool(["test", "rules", file.path])
            #expect(result.status == 0, "\(result.text)")
        }
    }

    /// A threshold or a time that is a little off is noticed by the tests of its alert, in both directions.
    @Test(arguments: AlertRule.Slip.allCases)
    func aSlipInAnyAlertIsNoticed(_ slip: AlertRule.Slip) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "rules-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            at: PrometheusFiles.folder.appending(path: "tests"), to: folder.appending(path: "tests"))
        try FileManager.default.createDirectory(at: folder.appending(path: "rules"), withIntermediateDirectories: true)
        var slipped: Set<String> = []
        for file in try PrometheusFiles.files(in: "rules") {
            let (text, alerts) = AlertRule.slipping(slip, in: try String(contentsOf: file, encoding: .utf8))
            slipped.formUnion(alerts)
            try text.write(
                to: folder.appending(path: "rules/\(file.lastPathComponent)"), atomically: true, encoding: .utf8)
        }
        #expect(slipped.count > 20)
        var complaints = ""
        for file in try PrometheusFiles.files(in: "tests") {
            complaints += try await PrometheusFiles.promtool([
                "test", "rules", folder.appending(path: "tests/\(file.lastPathComponent)").path,
            ]).text
        }
        for alert in slipped.sorted() {
            #expect(complaints.contains("alertname=\\\"\(alert)\\\""), "\(alert) with \(slip): no test fails")
        }
    }

    /// Every alert is tested, says how bad it is and what to do, and stands in the documentation.
    @Test func everyAlertSaysWhatToDo() throws {
        let tests = try PrometheusFiles.files(in: "tests").map { try String(contentsOf: $0, encoding: .utf8) }.joined()
        let alerts = try AlertRule.all()
        #expect(alerts.count > 25)
        #expect(Set(alerts.map(\.name)).count == alerts.count)
        for alert in alerts {
            #expect(alert.lines.contains { $0.hasPrefix("summary: ") }, "\(alert.name)")
            #expect(alert.lines.contains { $0.hasPrefix("runbook: ") }, "\(alert.name)")
            #expect(alert.lines.contains { $0.hasPrefix("labels: {severity: ") }, "\(alert.name)")
            #expect(
                tests.contains("alertname=\"\(alert.name)\",alertstate=\"firing\","),
                "\(alert.name) is never seen to fire")
        }
    }
}
