import ChatCore
import RabbitQueue
import TraceKit
import Tracing

/// The spans of outcomes that are settled together: one for each, in its turn's trace.
struct SettlementSpans {
    private let spans: [(turn: TurnID, span: RecordedSpan)]

    /// - Returns: nil without a tracer.
    init?(_ outcomes: [TurnOutcome], _ redelivered: Set<TurnID>, shard: String, tracer: SpanTracer?) {
        guard let tracer else { return nil }
        spans = outcomes.map { outcome in
            let span = tracer.startSpan(
                "settle response_queue", context: .under(outcome.trace), ofKind: .consumer)
            var attributes = SpanAttributes.messaging(
                .process, "settle", queue: Topology.responseQueue(shard: shard),
                template: "\(Topology.responseQueuePrefix)*", message: "\(outcome.turn)")
            attributes["messaging.batch.message_count"] = outcomes.count
            attributes["switchboard.shard"] = shard
            attributes["switchboard.redelivered"] = redelivered.contains(outcome.turn)
            span.attributes = attributes
            return (outcome.turn, span)
        }
    }

    func fail(_ turn: TurnID, _ reason: String) {
        for (other, span) in spans where other == turn { span.fail(reason) }
    }

    func end() {
        for (_, span) in spans { span.end() }
    }
}
