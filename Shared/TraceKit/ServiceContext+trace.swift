import ChatCore
import Tracing

extension ServiceContext {
    private enum TraceKey: ServiceContextKey { typealias Value = TraceContext }
    private enum SpanKey: ServiceContextKey { typealias Value = RecordedSpan }

    /// What a span that begins in this context is part of.
    public var trace: TraceContext? {
        get { self[TraceKey.self] }
        set { self[TraceKey.self] = newValue }
    }

    /// The span of this process that the context belongs to.
    public internal(set) var activeSpan: RecordedSpan? {
        get { self[SpanKey.self] }
        set { self[SpanKey.self] = newValue }
    }

    /// The context of work that another process asked for; of a new trace when it sent none.
    public static func under(_ trace: TraceContext?) -> ServiceContext {
        var context = ServiceContext.topLevel
        context.trace = trace
        return context
    }
}
