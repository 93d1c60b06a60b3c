import Logging
import Metrics
import ServiceKit
import ServiceLifecycle
import Tracing

/// What a service traces with, made of its settings. Without an endpoint there is no tracer: contexts that come from
/// outside are passed on, nothing is begun, nothing is kept.
public struct Traces: Sendable {
    public let tracer: SpanTracer?
    /// To be started before whatever makes spans, so that it stops after it.
    public let services: [any Service]

    /// - Parameters:
    ///   - service: the program's name.
    ///   - instance: this process' name.
    /// - Throws: `SettingsError` for an endpoint, or headers, that are none.
    public init(_ settings: Settings, service: String, instance: String, logger: Logger) throws(SettingsError) {
        // Shown without an endpoint too: nothing is exported, nothing is lost.
        let counts = ExportCounts(MetricsSystem.factory)
        guard let endpoint = try OTLPEndpoint(settings) else {
            (tracer, services) = (nil, [])
            return
        }
        let exporter = SpanExporter(
            endpoint: endpoint, resource: .process(service: service, instance: instance), counts: counts,
            logger: logger)
        let tracer = SpanTracer(share: try settings(Settings.tracesShare)) { exporter.take($0) }
        // For libraries that trace by themselves.
        InstrumentationSystem.bootstrap(tracer)
        self.tracer = tracer
        services = [exporter]
    }
}
