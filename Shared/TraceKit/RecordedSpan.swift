import ChatCore
import Synchronization
import Tracing

/// A piece of work in a trace, from its beginning to its end. One that is not sampled only has its place in the trace.
///
/// What is said of it after its end is not heard. One that nobody ends ends with its last reference.
public final class RecordedSpan: Span {
    /// Of one span. What is beyond is counted, not kept.
    public enum Limits {
        public static let attributes = 64
        public static let events = 128
        public static let links = 16
        /// Of a name or of an attribute's text.
        public static let textBytes = 1024
    }

    private struct State {
        var name: String
        var attributes: SpanAttributes = [:]
        var events: [SpanEvent] = []
        var droppedEvents = 0
        var links: [SpanLink] = []
        var status: SpanStatus?
        var hasEnded = false
    }

    public let trace: TraceContext
    public var isRecording: Bool { trace.isSampled }
    private let parent: SpanID?
    private let kind: SpanKind
    private let start: UInt64
    private let surroundings: ServiceContext
    private let state: Mutex<State>
    private let onEnd: @Sendable (FinishedSpan) -> Void

    init(
        _ name: String, _ trace: TraceContext, parent: SpanID?, kind: SpanKind, start: UInt64,
        surroundings: ServiceContext, onEnd: @escaping @Sendable (FinishedSpan) -> Void
    ) {
        self.trace = trace
        self.parent = parent
        self.kind = kind
        self.start = start
        self.surroundings = surroundings
        self.onEnd = onEnd
        state = Mutex(State(name: name))
    }

    deinit { finish(at: DefaultTracerClock.now.nanosecondsSinceEpoch) }

    /// Made anew each time: kept, it would keep the span.
    public var context: ServiceContext {
        var context = surroundings
        context.trace = trace
        context.activeSpan = self
        return context
    }

    public var operationName: String {
        get { state.withLock { $0.name } }
        set { change { $0.name = newValue } }
    }

    public var attributes: SpanAttributes {
        get { state.withLock { $0.attributes } }
        set { change { $0.attributes = newValue } }
    }

    public func setStatus(_ status: SpanStatus) { change { $0.status = status } }

    /// - Parameter reason: in words that contain nothing of a client's.
    public func fail(_ reason: String) { setStatus(SpanStatus(code: .error, message: reason)) }

    public func addEvent(_ event: SpanEvent) {
        change { state in
            if state.events.count < Limits.events { state.events.append(event) } else { state.droppedEvents += 1 }
        }
    }

    public func addLink(_ link: SpanLink) {
        change { if $0.links.count < Limits.links { $0.links.append(link) } }
    }

    /// Its type only: an error's words may repeat what a client wrote.
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        guard isRecording else { return }
        var attributes = attributes
        attributes["exception.type"] = "\(type(of: error))"
        addEvent(SpanEvent(name: "exception", at: instant(), attributes: attributes))
    }

    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        guard isRecording else { return }
        finish(at: instant().nanosecondsSinceEpoch)
    }

    private func change(_ body: (inout State) -> Void) {
        guard isRecording else { return }
        state.withLock { if !$0.hasEnded { body(&$0) } }
    }

    private func finish(at time: UInt64) {
        guard isRecording else { return }
        let finished = state.withLock { state -> FinishedSpan? in
            guard !state.hasEnded else { return nil }
            state.hasEnded = true
            return FinishedSpan(
                name: state.name, trace: trace, parent: parent, kind: kind, start: start, end: max(start, time),
                attributes: state.attributes, events: state.events, droppedEvents: state.droppedEvents,
                links: state.links.compactMap(\.context.trace), status: state.status)
        }
        if let finished { onEnd(finished) }
    }
}

/// A span that has ended, as it is exported. Times are nanoseconds of Unix time.
public struct FinishedSpan: Sendable {
    public let name: String
    public let trace: TraceContext
    public let parent: SpanID?
    public let kind: SpanKind
    public let start: UInt64
    public let end: UInt64
    public let attributes: SpanAttributes
    public let events: [SpanEvent]
    public let droppedEvents: Int
    public let links: [TraceContext]
    public let status: SpanStatus?
}
