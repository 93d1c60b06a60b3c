import Hummingbird
import NIOCore
import ServiceKit

extension RouterMethods {
    /// `GET` and `HEAD` of `/livez`, `/readyz` and `/metrics`: open to whoever can connect, for probes and scrapers carry
    /// no keys. They are answered from memory.
    public func addProbes(_ probes: Probes, metrics registry: MetricRegistry = .process) {
        for method in [HTTPRequest.Method.get, .head] {
            on("/livez", method: method) { _, _ in Response(verdict: probes.liveness) }
            on("/readyz", method: method) { _, _ in Response(verdict: probes.readiness) }
            on("/metrics", method: method) { _, _ in
                Response(text: registry.prometheusText(), type: MetricRegistry.prometheusContentType)
            }
        }
    }
}

extension Response {
    /// 200, or 503 with a line for each reason.
    fileprivate init(verdict checks: [Probes.Check]) {
        let reasons = checks.compactMap { $0() }
        self.init(
            status: reasons.isEmpty ? .ok : .serviceUnavailable,
            text: reasons.isEmpty ? "ok\n" : reasons.map { $0 + "\n" }.joined(), type: "text/plain; charset=utf-8")
    }

    fileprivate init(status: HTTPResponse.Status = .ok, text: String, type: String) {
        self.init(
            status: status, headers: [.contentType: type, .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }
}
