import Hummingbird
import NIOCore
import ServiceKit
import Synchronization

extension RouterMethods {
    /// `GET` and `HEAD` of `/livez`, `/readyz` and `/metrics`: open to whoever can connect, for probes and scrapers carry
    /// no keys. They are answered from memory.
    /// - Parameter metricsAge: how old the metrics may be that somebody gets: on a port that is open to anyone they are
    ///   written down that often at most, however often they are asked for.
    public func addProbes(
        _ probes: Probes, metrics registry: MetricRegistry = .process, metricsAge: Duration = .zero
    ) {
        let page = MetricsPage(registry, maximumAge: metricsAge)
        for method in [HTTPRequest.Method.get, .head] {
            on("/livez", method: method) { _, _ in Response(verdict: probes.liveness) }
            on("/readyz", method: method) { _, _ in Response(verdict: probes.readiness, notices: probes.notices) }
            on("/metrics", method: method) { _, _ in
                Response(text: page.text, type: MetricRegistry.prometheusContentType)
            }
        }
    }
}

/// The metrics as they were written down last.
final class MetricsPage: Sendable {
    private let registry: MetricRegistry
    private let maximumAge: Duration
    private let now: @Sendable () -> ContinuousClock.Instant
    private let last = Mutex<(text: String, at: ContinuousClock.Instant)?>(nil)

    /// - Parameter now: another clock for a test.
    init(
        _ registry: MetricRegistry, maximumAge: Duration,
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.registry = registry
        self.maximumAge = maximumAge
        self.now = now
    }

    var text: String {
        // Who comes meanwhile waits for the same text.
        last.withLock { last in
            let asked = now()
            if let last, last.at + maximumAge > asked { return last.text }
            let text = registry.prometheusText()
            last = (text, asked)
            return text
        }
    }
}

extension Response {
    /// 200 and `ok`, or 503 with a line for each reason; then a line for each notice.
    fileprivate init(verdict checks: [Probes.Check], notices: [Probes.Check] = []) {
        let reasons = checks.compactMap { $0() }
        let lines = (reasons.isEmpty ? ["ok"] : reasons) + notices.compactMap { $0() }
        self.init(
            status: reasons.isEmpty ? .ok : .serviceUnavailable, text: lines.map { $0 + "\n" }.joined(),
            type: "text/plain; charset=utf-8")
    }

    fileprivate init(status: HTTPResponse.Status = .ok, text: String, type: String) {
        self.init(
            status: status, headers: [.contentType: type, .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }
}
