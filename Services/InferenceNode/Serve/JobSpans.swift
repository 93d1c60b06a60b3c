import ChatCore
import Synchronization
import TraceKit
import Tracing

/// The spans of the jobs at this node, from their coming to their last token, in their turns' traces.
final class JobSpans: Sendable {
    private struct Key: Hashable {
        let turn: TurnID
        let epoch: Int64
        let attempt: Int
    }

    private struct Job {
        let span: RecordedSpan
        var tokens = 0
    }

    private let tracer: SpanTracer
    private let model: String
    /// As many as there are jobs: each ends with an item that says so.
    private let jobs = Mutex<[Key: Job]>([:])

    init(tracer: SpanTracer, model: String) {
        self.tracer = tracer
        self.model = model
    }

    func begin(_ job: GenerationJob) {
        let span = tracer.startSpan("generate \(model)", context: .under(job.trace), ofKind: .consumer)
        guard span.isRecording else { return }
        var attributes = SpanAttributes.messaging(
            .process, "generate", template: "node.*", message: "\(job.turn)/\(job.epoch)/\(job.attempt)")
        attributes.merge(.generation(model: model, job.sampling))
        attributes["gen_ai.usage.input_tokens"] = job.prompt.count
        attributes["switchboard.attempt"] = job.attempt
        attributes["switchboard.first_token_index"] = job.outputSoFar.count
        span.attributes = attributes
        jobs.withLock { $0[Key(turn: job.turn, epoch: job.epoch, attempt: job.attempt)] = Job(span: span) }
    }

    /// Hears what is sent of the jobs.
    func note(_ items: [TokenBatch.Item]) {
        let noted = jobs.withLock { jobs -> [(Job, TokenBatch.Item)] in
            guard !jobs.isEmpty else { return [] }
            return items.compactMap { item in
                let key = Key(turn: item.turn, epoch: item.epoch, attempt: item.attempt)
                jobs[key]?.tokens += item.tokens.count
                guard item.end != nil || item.timeToFirstToken != nil, let job = jobs[key] else { return nil }
                if item.end != nil { jobs[key] = nil }
                return (job, item)
            }
        }
        for (job, item) in noted { note(item, of: job) }
    }

    private func note(_ item: TokenBatch.Item, of job: Job) {
        if item.timeToFirstToken != nil { job.span.addEvent("first token") }
        guard let end = item.end else { return }
        job.span.updateAttributes { $0.setUsage(completion: job.tokens, finish: "\(end.kind)") }
        switch end.kind {
        case .stop, .length, .cancelled: break
        case .refused, .unavailable, .failed: job.span.fail("\(end.kind)")
        }
        job.span.end()
    }
}
