import Metrics
import ServiceKit
import Testing

@Suite struct MetricsTests {
    @Test func textHoldsEveryKindAsPrometheusReadsIt() {
        let registry = MetricRegistry()
        let calls = Counter(label: "calls", dimensions: [("to", "redis"), ("a", "b")], factory: registry)
        calls.increment(by: 2)
        // Made anew with the same names, in another order, it is the same series.
        Counter(label: "calls", dimensions: [("a", "b"), ("to", "redis")], factory: registry).increment()
        Counter(label: "calls", dimensions: [("to", "a\"b\\c\nd")], factory: registry).increment()
        let gauge = Gauge(label: "http.server.open-streams", factory: registry)
        gauge.record(7)
        gauge.record(2.5)
        let timer = Timer(label: "step", factory: registry)
        timer.recordMilliseconds(3)
        timer.recordMilliseconds(40)
        timer.recordSeconds(1000)
        let text = registry.prometheusText()
        #expect(
            text.contains(
                """
                # TYPE calls_total counter
                calls_total{a="b",to="redis"} 3
                calls_total{to="a\\"b\\\\c\\nd"} 1
                # TYPE http_server_open_streams gauge
                http_server_open_streams 2.5
                # TYPE step_seconds histogram
                step_seconds_bucket{le="0.001"} 0
                step_seconds_bucket{le="0.005"} 1
                """))
        #expect(
            text.contains(
                """
                step_seconds_bucket{le="0.05"} 2
                """))
        #expect(
            text.contains(
                """
                step_seconds_bucket{le="300"} 2
                step_seconds_bucket{le="+Inf"} 3
                step_seconds_sum 1000.043
                step_seconds_count 3
                """))
        #expect(text.contains("\nswitchboard_metric_series_dropped 0\n") && text.hasSuffix("\n"))
    }

    @Test func seriesAreBounded() {
        let registry = MetricRegistry()
        for number in 0..<MetricRegistry.maximumSeries + 3 {
            Counter(label: "c", dimensions: [("n", "\(number)")], factory: registry).increment()
        }
        let lines = registry.prometheusText().split(separator: "\n")
        #expect(lines.count { $0.hasPrefix("c_total{") } == MetricRegistry.maximumSeries)
        #expect(lines.contains("switchboard_metric_series_dropped 3"))
    }
}
