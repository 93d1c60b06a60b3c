import ChatCore
import Tracing

/// The back end of swift-distributed-tracing: begins spans, and gives those that end to whoever exports them.
public struct SpanTracer: Tracer {
    private let sampler: Sampler
    private let onEnd: @Sendable (FinishedSpan) -> Void

    /// - Parameter share: of the traces that begin here those that are recorded, 0 to 1. One that began elsewhere is
    ///   recorded when its beginner says so.
    public init(share: Double, onEnd: @escaping @Sendable (FinishedSpan) -> Void) {
        sampler = Sampler(share: share)
        self.onEnd = onEnd
    }

    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> ServiceContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> RecordedSpan {
        let context = context()
        let parent = context.trace
        var random = SystemRandomNumberGenerator()
        let trace = parent?.trace ?? TraceID(using: &random)
        let own = TraceContext(
            trace: trace, span: SpanID(using: &random), isSampled: parent?.isSampled ?? sampler.takes(trace),
            state: parent?.state)
        return RecordedSpan(
            operationName, own, parent: parent?.span, kind: kind, start: instant().nanosecondsSinceEpoch,
            surroundings: context, onEnd: onEnd)
    }

    public func activeSpan(identifiedBy context: ServiceContext) -> RecordedSpan? { context.activeSpan }

    /// Spans leave by themselves within moments; nothing waits for that here.
    public func forceFlush() {}

    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout ServiceContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        context.trace = TraceContext(
            traceparent: extractor.extract(key: TraceContext.parentName, from: carrier),
            tracestate: extractor.extract(key: TraceContext.stateName, from: carrier))
    }

    public func inject<Carrier, Inject: Injector>(
        _ context: ServiceContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        guard let trace = context.trace else { return }
        injector.inject(trace.traceparent, forKey: TraceContext.parentName, into: &carrier)
        if let state = trace.state { injector.inject(state, forKey: TraceContext.stateName, into: &carrier) }
    }
}

/// Which of the traces that begin here are recorded: by their ids, so that everybody who knows the share agrees.
struct Sampler: Sendable {
    private let bound: UInt64

    /// - Parameter share: 0 to 1; what is beyond counts as the nearer end.
    init(share: Double) {
        let whole = Double(UInt64(1) << 56)
        bound = share >= 1 ? .max : share > 0 ? UInt64(share * whole) : 0
    }

    /// By the trace id's last seven bytes: the ones that the standard wants random.
    func takes(_ trace: TraceID) -> Bool { trace.low & 0xFF_FFFF_FFFF_FFFF < bound }
}
