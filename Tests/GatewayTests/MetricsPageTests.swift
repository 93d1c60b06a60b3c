import Hummingbird
import ServiceKit
import Synchronization
import Testing

@testable import OperatorPort
@testable import gateway

/// The metrics on the port that is open to anyone: however often they are asked for, they are written down four times a second.
@Suite struct MetricsPageTests {
    /// Counts how often the metrics are written down: each time the value is asked for.
    private final class Scraped: Sendable {
        private let times = Atomic(0)
        let registry = MetricRegistry()

        init() {
            registry.observe(Measures.connections) { [weak self] in
                Double(self?.times.add(1, ordering: .relaxed).newValue ?? 0)
            }
        }

        var count: Int { times.load(ordering: .relaxed) }
    }

    private final class TestClock: Sendable {
        private let time = Mutex(ContinuousClock.now)

        var now: ContinuousClock.Instant { time.withLock { $0 } }
        func pass(_ duration: Duration) { time.withLock { $0 += duration } }
    }

    @Test func theTextIsNeverOlderThanItMayBe() {
        let scraped = Scraped()
        let clock = TestClock()
        let age = GatewayConfiguration.metricsAge
        let page = MetricsPage(scraped.registry, maximumAge: age) { clock.now }

        let first = page.text
        #expect(first.contains("switchboard_connections 1"), "\(first)")
        for _ in 0..<1000 { #expect(page.text == first) }
        clock.pass(age - .nanoseconds(1))
        #expect(page.text == first && scraped.count == 1)
        clock.pass(.nanoseconds(1))
        #expect(page.text.contains("switchboard_connections 2"))
        // The age counts from when it was written down, not from when it was asked for last.
        for _ in 0..<10 {
            clock.pass(age / 10)
            _ = page.text
        }
        #expect(scraped.count == 3)
        #expect(age == .milliseconds(250))
    }

    /// On the wire: a thousand requests of one connection are one writing on the public port, and each its own on the operator's.
    @Test(arguments: [(Duration.seconds(3600), 1), (.zero, 1000)])
    func requestsShareAText(age: Duration, writings: Int) async throws {
        let scraped = Scraped()
        let router = Router(context: GatewayRequestContext.self)
        router.addProbes(Probes(readiness: []), metrics: scraped.registry, metricsAge: age)
        try await LiveServer.run(router) { port, _ in
            let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
            let last = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            let answers = try await LiveServer.exchange(port, String(repeating: request, count: 999) + last)
            #expect(answers.matches(of: /switchboard_connections \d/).count == 1000)
        }
        #expect(scraped.count == writings)
    }
}
