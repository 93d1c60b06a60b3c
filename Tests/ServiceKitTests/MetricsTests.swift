import Metrics
import Testing

@testable import ServiceKit

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
        let timer = Timer(label: "step_seconds", factory: registry)
        timer.recordMilliseconds(3)
        timer.recordMilliseconds(5)
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
                step_seconds_bucket{le="0.005"} 2
                """))
        #expect(
            text.contains(
                """
                step_seconds_bucket{le="0.05"} 3
                """))
        #expect(
            text.contains(
                """
                step_seconds_bucket{le="300"} 3
                step_seconds_bucket{le="+Inf"} 4
                step_seconds_sum 1000.048
                step_seconds_count 4
                """))
        #expect(text.contains("\nswitchboard_metric_series_dropped 0\n") && text.hasSuffix("\n"))
    }

    @Test func seriesAreBounded() {
        let registry = MetricRegistry()
        for number in 0..<MetricRegistry.maximumSeries + 3 {
            Counter(label: "c", dimensions: [("n", "\(number)")], factory: registry).increment()
        }
        registry.observe(Measures.openStreams) { 1 }
        let lines = registry.prometheusText().split(separator: "\n")
        #expect(lines.count { $0.hasPrefix("c_total{") } == MetricRegistry.maximumSeries)
        #expect(lines.contains("switchboard_metric_series_dropped 4"))
    }

    @Test func aMeasureBringsItsHelpItsBoundsAndItsColon() {
        let registry = MetricRegistry()
        Measures.nodeFirstToken("m", factory: registry).recordSeconds(2000)
        Measures.nodeRequestsEnded("m", "stop", factory: registry).increment()
        let text = registry.prometheusText()
        #expect(text.contains("# HELP vllm:time_to_first_token_seconds Time from a request's arrival"))
        #expect(text.contains("vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"640\"} 0\n"))
        #expect(text.contains("vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"2560\"} 1\n"))
        #expect(text.contains("vllm:request_success_total{finished_reason=\"stop\",model_name=\"m\"} 1\n"))
    }

    @Test func whatIsObservedIsAskedAtEachReading() {
        let registry = MetricRegistry()
        registry.observe(Measures.openStreams) { [registry] in
            // Whoever answers may use the registry.
            Counter(label: "calls_total", factory: registry).increment()
            return 3
        }
        #expect(registry.prometheusText().contains("switchboard_open_streams 3\n"))
        registry.observe(Measures.openStreams) { 4 }
        #expect(registry.prometheusText().contains("switchboard_open_streams 4\n"))
    }

    @Test func measuresAreNamedByTheRules() {
        #expect(Set(Measures.catalogue.map(\.name)).count == Measures.catalogue.count)
        for measure in Measures.catalogue {
            #expect(measure.help.hasSuffix("."), "\(measure.name)")
            #expect((measure.type == "counter") == measure.name.hasSuffix("_total"), "\(measure.name)")
            #expect(measure.name.wholeMatch(of: /(vllm:|switchboard_|process_)[a-z0-9_]+/) != nil, "\(measure.name)")
        }
        for (name, bounds) in Measures.bounds {
            #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "\(name)")
        }
    }

    @Test func theProcessTellsOfItself() throws {
        let registry = MetricRegistry()
        ProcessMeasures.register(service: "tests", in: registry)
        let text = registry.prometheusText()
        func value(_ name: String) throws -> Double {
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name + " ") })
            return try #require(Double(line.dropFirst(name.count + 1)))
        }
        #expect(try value("process_resident_memory_bytes") > 1e6)
        #expect(try value("process_cpu_seconds_total") > 0)
        let (open, most) = (try value("process_open_fds"), try value("process_max_fds"))
        #expect(open >= 3 && open <= most)
        // After 2020 and before 2100: in seconds, and of the epoch.
        let start = try value("process_start_time_seconds")
        #expect(start > 1.58e9 && start < 4.1e9)
        #expect(text.contains("switchboard_build_info{service=\"tests\",version=\""))
    }
}
