import ChatCore
import RabbitQueue
import RedisStore
import TraceKit
import Tracing

/// The spans of a turn at one holder: the work on its delivery, and in it planning, the wait for a place, each attempt
/// at a node, and the ending. Without a tracer there are none, and the turn's own context is passed on.
struct TurnTrace {
    private let tracer: SpanTracer?
    private let turn: Turn
    /// What the spans of this delivery are children of.
    private let context: ServiceContext
    private let run: RecordedSpan?
    private struct Attempt {
        let span: RecordedSpan
        let number: Int
        /// Tokens that the turn had when it began.
        let start: Int
    }

    /// By the id of the place that an attempt uses.
    private var attempts: [UInt64: Attempt] = [:]
    private var ending: RecordedSpan?

    /// How an attempt's span ends whose holder does not know how it ended.
    private static let letGo = "let go"

    init(_ turn: Turn, _ delivery: Delivery, tracer: SpanTracer?) {
        self.tracer = tracer
        self.turn = turn
        run = tracer?.startSpan("run \(delivery.queue)", context: .under(turn.trace), ofKind: .consumer)
        context = run?.context ?? .topLevel
        guard let run else { return }
        var attributes = SpanAttributes.messaging(
            .process, "run", queue: delivery.queue, message: "\(turn.id)", bytes: delivery.bytes)
        attributes["gen_ai.conversation.id"] = "\(turn.conversation.id.value)"
        attributes["switchboard.redelivered"] = delivery.redelivered
        if delivery.deliveryCount > 0 { attributes["switchboard.delivery_count"] = delivery.deliveryCount }
        run.attributes = attributes
    }

    /// Something that is worth to be seen happened to the delivery.
    func note(_ event: String, _ attributes: @autoclosure () -> SpanAttributes = [:]) {
        run?.addEvent(SpanEvent(name: event, attributes: attributes()))
    }

    /// A span for a part of the work that one task does by itself.
    func begin(_ part: String) -> RecordedSpan? { tracer?.startSpan(part, context: context) }

    // MARK: Attempts

    mutating func beginAttempt(_ place: HolderPlace, number: Int, maxTokens: Int, start: Int) {
        guard let tracer else { return }
        let model = turn.model
        let span = tracer.startSpan("chat \(model ?? "")", context: context, ofKind: .client)
        var sampling = turn.sampling
        sampling.maxTokens = maxTokens
        var attributes = SpanAttributes.generation(
            model: model, sampling, conversation: turn.conversation.id)
        attributes["switchboard.node"] = place.node
        attributes["switchboard.attempt"] = number
        // Beyond 0 it goes on with what an earlier attempt began.
        attributes["switchboard.first_token_index"] = start
        span.attributes = attributes
        attempts[place.id] = Attempt(span: span, number: number, start: start)
    }

    /// The job carries the trace on to its node.
    func mark(_ order: inout GenerationJob, at place: HolderPlace) {
        if let attempt = attempts[place.id] {
            order.trace = attempt.span.trace
        } else {
            (order.traceparent, order.tracestate) = (turn.traceparent, turn.tracestate)
        }
    }

    /// - Parameters:
    ///   - verdicts: the holder's last words on attempts.
    ///   - tokens: what the turn has now.
    mutating func endAttempt(at place: HolderPlace, _ verdicts: [TurnLog.Verdict], prompt: Int?, tokens: Int) {
        guard let attempt = attempts.removeValue(forKey: place.id) else { return }
        let reason = verdicts.last { $0.attempt == attempt.number }?.reason ?? TurnTrace.letGo
        attempt.span.updateAttributes { attributes in
            attributes.setUsage(prompt: prompt, completion: max(0, tokens - attempt.start), finish: nil)
            attributes["switchboard.end_reason"] = reason
        }
        if reason != HolderLimits.done { attempt.span.fail(reason) }
        attempt.span.end()
    }

    // MARK: The end

    /// Puts the outcome into the trace: whoever settles it is a child of the ending.
    mutating func beginEnding(_ outcome: inout TurnOutcome) {
        guard let tracer else {
            (outcome.traceparent, outcome.tracestate) = (turn.traceparent, turn.tracestate)
            return
        }
        let span = tracer.startSpan("end response_queue", context: context, ofKind: .producer)
        var attributes = SpanAttributes.messaging(
            .send, "end", template: "\(Topology.responseQueuePrefix)*", message: "\(turn.id)")
        attributes["switchboard.status"] = outcome.status.rawValue
        attributes["switchboard.attempts"] = outcome.attempts
        attributes.setUsage(
            prompt: outcome.usage.promptTokens, completion: outcome.usage.completionTokens,
            finish: outcome.finishReason.rawValue)
        span.attributes = attributes
        ending = span
        outcome.trace = span.trace
    }

    mutating func end(_ outcome: TurnOutcome) {
        ending?.end()
        ending = nil
        run?.updateAttributes { $0["switchboard.status"] = outcome.status.rawValue }
        // The reason may repeat what a client wrote; the log has it.
        if outcome.status == .failed { run?.fail("the turn failed") }
    }

    /// The delivery is done with here.
    mutating func leave() {
        for attempt in attempts.values { attempt.span.end() }
        attempts = [:]
        ending?.end()
        run?.end()
    }
}
