import ChatCore
import RabbitQueue
import TraceKit
import Tracing

extension TurnIntake {
    /// Begins the span of making a turn durable, under its request, and puts the turn into the trace. A turn that an
    /// earlier request froze stays in that one's; the span of the later one links to it.
    func beginAccept(_ turn: inout Turn) -> RecordedSpan? {
        guard let tracer else {
            if turn.traceparent == nil, let trace = ServiceContext.current?.trace { turn.trace = trace }
            return nil
        }
        let queue = Topology.queue(for: turn.kind)
        let span = tracer.startSpan("accept \(queue)", ofKind: .producer)
        var attributes = SpanAttributes.messaging(.send, "accept", queue: queue, message: "\(turn.id)")
        attributes["gen_ai.conversation.id"] = "\(turn.conversation.id.value)"
        attributes["switchboard.tier"] = (turn.tier ?? .standard).rawValue
        if turn.degradation != nil { attributes["switchboard.degraded"] = true }
        span.attributes = attributes
        if let first = turn.trace {
            span.addLink(SpanLink(context: .under(first), attributes: [:]))
        } else {
            turn.trace = span.trace
        }
        return span
    }
}
