import ChatCore
import LlamaEngine

/// The jobs at this node: which engine request belongs to which turn, attempt and orchestrator. Pure bookkeeping.
struct JobTable {
    struct Job: Equatable {
        let turn: TurnID
        let epoch: Int64
        let attempt: Int
        let orchestrator: String
        let submitted: ContinuousClock.Instant
        /// Unix time in milliseconds of the Redis clock.
        let deadline: Int64
        /// Index of the token that is sent next.
        var next: Int
        var hasFirstToken = false
    }

    /// Cancelled turns that are remembered, in case their job is still on the way here; and for how long. A later job may
    /// have a lower epoch than a cancelled one: Redis was emptied, and its clock was set back.
    static let maximumCancelled = 1024
    static let cancellationLifetime: Duration = .seconds(60)

    enum Admission: Equatable {
        /// Submit the request under this id, after cancelling the older one of the same turn if there is one.
        case run(UInt64, cancelling: UInt64?)
        /// This very attempt is here, under this id: whoever asks again has heard nothing of it for long.
        case repeated(UInt64)
        /// A newer attempt is here already, or this one was cancelled.
        case stale
        /// A job of a later epoch is known here: whoever sent this one is to hear that it was not taken.
        case superseded
        /// There are as many jobs as may be.
        case full
    }

    /// Jobs at once: what the engine runs and lets wait, and what has ended and waits to be sent.
    let capacity: Int

    private var jobs: [UInt64: Job] = [:]
    private var requests: [TurnID: UInt64] = [:]
    private var cancelled: [TurnID: (epoch: Int64, attempt: Int, at: ContinuousClock.Instant)] = [:]
    private var cancelledInOrder: [TurnID] = []
    private var lastRequest: UInt64 = 0

    init(capacity: Int = 65_536) { self.capacity = capacity }

    var count: Int { jobs.count }
    var orchestrators: Set<String> { Set(jobs.values.map(\.orchestrator)) }

    mutating func admit(_ job: GenerationJob, at now: ContinuousClock.Instant) -> Admission {
        let older = requests[job.turn]
        // A job may be taken from the queue later than the order to cancel it was heard, most of all after a stop.
        if let known = cancellation(of: job, at: now) { return known.epoch > job.epoch ? .superseded : .stale }
        if let older, let known = jobs[older], (known.epoch, known.attempt) >= (job.epoch, job.attempt) {
            if known.epoch > job.epoch { return .superseded }
            return (known.epoch, known.attempt) == (job.epoch, job.attempt) ? .repeated(older) : .stale
        }
        guard jobs.count < capacity else { return .full }
        lastRequest += 1
        jobs[lastRequest] = Job(
            turn: job.turn, epoch: job.epoch, attempt: job.attempt, orchestrator: job.orchestrator,
            submitted: now, deadline: job.deadline, next: job.outputSoFar.count)
        requests[job.turn] = lastRequest
        return .run(lastRequest, cancelling: older)
    }

    /// Whether this very attempt is here.
    func holds(_ job: GenerationJob) -> Bool {
        requests[job.turn].flatMap { jobs[$0] }.map { ($0.epoch, $0.attempt) == (job.epoch, job.attempt) } ?? false
    }

    /// Whether nobody wants the job any more.
    func isCancelled(_ job: GenerationJob, at now: ContinuousClock.Instant = .now) -> Bool {
        cancellation(of: job, at: now) != nil
    }

    private func cancellation(of job: GenerationJob, at now: ContinuousClock.Instant) -> (epoch: Int64, attempt: Int)? {
        guard let known = cancelled[job.turn], known.at + JobTable.cancellationLifetime > now,
            (known.epoch, known.attempt) >= (job.epoch, job.attempt)
        else { return nil }
        return (known.epoch, known.attempt)
    }

    /// The request that an order to cancel means: of that epoch and attempt, or older. Such a job that comes later is
    /// stale.
    mutating func cancel(_ control: NodeControl, at now: ContinuousClock.Instant = .now) -> UInt64? {
        if cancelled[control.cancel] == nil {
            cancelledInOrder.append(control.cancel)
            if cancelledInOrder.count > JobTable.maximumCancelled { cancelled[cancelledInOrder.removeFirst()] = nil }
        }
        if cancelled[control.cancel].map({ ($0.epoch, $0.attempt) < (control.epoch, control.attempt) }) ?? true {
            cancelled[control.cancel] = (control.epoch, control.attempt, now)
        }
        guard let request = requests[control.cancel], let job = jobs[request] else { return nil }
        return (job.epoch, job.attempt) <= (control.epoch, control.attempt) ? request : nil
    }

    func requests(of orchestrator: String) -> [UInt64] {
        jobs.filter { $0.value.orchestrator == orchestrator }.map(\.key)
    }

    /// Everything in progress.
    var all: [UInt64] { Array(jobs.keys) }

    /// Jobs that nobody wants any more at that time of the Redis clock.
    func expired(at now: Int64) -> [UInt64] { jobs.filter { $0.value.deadline <= now }.map(\.key) }

    mutating func remove(_ request: UInt64) {
        guard let job = jobs.removeValue(forKey: request) else { return }
        if requests[job.turn] == request { requests[job.turn] = nil }
    }

    /// Sorts what is pending by the orchestrators that wait for it.
    mutating func batches(of pending: PendingTokens, node: String, at now: ContinuousClock.Instant) -> [String:
        TokenBatch]
    {
        var items: [String: [TokenBatch.Item]] = [:]
        for reply in pending.replies { items[reply.orchestrator, default: []].append(reply.item) }
        for (request, entry) in pending.entries {
            guard let job = jobs[request] else { continue }
            var time: Int64?
            if !entry.tokens.isEmpty, !job.hasFirstToken {
                jobs[request]?.hasFirstToken = true
                time = Int64((now - job.submitted) / .microseconds(1))
            }
            let first = entry.first ?? job.next
            jobs[request]?.next = first + entry.tokens.count
            items[job.orchestrator, default: []].append(
                TokenBatch.Item(
                    turn: job.turn, epoch: job.epoch, attempt: job.attempt, first: first, tokens: entry.tokens,
                    end: entry.end, timeToFirstToken: time))
            if entry.end != nil { remove(request) }
        }
        return items.mapValues { TokenBatch(node: node, items: $0) }
    }
}
