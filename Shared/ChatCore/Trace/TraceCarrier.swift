/// A message that carries a trace context from one service to the next.
public protocol TraceCarrier {
    var traceparent: String? { get set }
    var tracestate: String? { get set }
}

extension TraceCarrier {
    /// Nil when there is none, or none that can be read.
    public var trace: TraceContext? {
        get { TraceContext(traceparent: traceparent, tracestate: tracestate) }
        set { (traceparent, tracestate) = (newValue?.traceparent, newValue?.state) }
    }
}

extension Turn: TraceCarrier {}
extension GenerationJob: TraceCarrier {}
extension TurnOutcome: TraceCarrier {}
