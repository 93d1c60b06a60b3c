import Testing

/// deploy/prometheus, read by promtool.
struct PrometheusConfigurationTests {
    @Test func theConfigurationIsTakenWithItsRules() async throws {
        let file = PrometheusFiles.folder.appending(path: "prometheus.yml").path
        let result = try await PrometheusFiles.promtool(["check", "config", "--lint=all", "--lint-fatal", file])
        #expect(result.status == 0, "\(result.text)")
        #expect(result.text.contains(" SUCCESS: "), "\(result.text)")
    }
}
