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
        var hasFirstToken = false
    }

    /// Cancelled turns that are remembered, in case their job is still on the way here.
    static let maximumCancelled = 1024

    enum Admission: Equatable {
        /// Submit the request under this id, after cancelling the older one of the same turn if there is one.
        case run(UInt64, cancelling: UInt64?)
        /// The same or a newer attempt is here already.
        case stale
    }

    private var jobs: [UInt64: Job] = [:]
    private var requests: [TurnID: UInt64] = [:]
    private var cancelled: [TurnID: (epoch: Int64, attempt: Int)] = [:]
    private var cancelledInOrder: [TurnID] = []
    private var lastRequest: UInt64 = 0

    var count: Int { jobs.count }
    var orchestrators: Set<String> { Set(jobs.values.map(\.orchestrator)) }

    mutating func admit(_ job: GenerationJob, at now: ContinuousClock.Instant) -> Admission {
        let older = requests[job.turn]
        if let older, let known = jobs[older], (known.epoch, known.attempt) >= (job.epoch, job.attempt) {
            return .stale
        }
        // A job may be taken from the queue later than the order to cancel it was heard, most of all after a stop.
        if let known = cancelled[job.turn], known >= (job.epoch, job.attempt) { return .stale }
        lastRequest += 1
        jobs[lastRequest] = Job(
            turn: job.turn, epoch: job.epoch, attempt: job.attempt, orchestrator: job.orchestrator,
            submitted: now, deadline: job.deadline)
        requests[job.turn] = lastRequest
        return .run(lastRequest, cancelling: older)
    }

    /// The request that an order to cancel means: of that epoch and attempt, or older. Such a job that comes later is
    /// stale.
    mutating func cancel(_ control: NodeControl) -> UInt64? {
        if cancelled[control.cancel] == nil {
            cancelledInOrder.append(control.cancel)
            if cancelledInOrder.count > JobTable.maximumCancelled { cancelled[cancelledInOrder.removeFirst()] = nil }
        }
        if cancelled[control.cancel].map({ $0 < (control.epoch, control.attempt) }) ?? true {
            cancelled[control.cancel] = (control.epoch, control.attempt)
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

    /// Sorts the events of one or some engine steps by the orchestrators that wait for them, a turn's tokens together.
    mutating func batches(of events: [TokenEvent], node: String, at now: ContinuousClock.Instant) -> [String:
        TokenBatch]
    {
        var items: [String: [TokenBatch.Item]] = [:]
        for (request, tokens) in joined(events) {
            guard let job = jobs[request] else { continue }
            var time: Int64?
            if !tokens.ids.isEmpty, !job.hasFirstToken {
                jobs[request]?.hasFirstToken = true
                time = Int64((now - job.submitted) / .microseconds(1))
            }
            items[job.orchestrator, default: []].append(
                TokenBatch.Item(
                    turn: job.turn, epoch: job.epoch, attempt: job.attempt, first: tokens.first, tokens: tokens.ids,
                    end: tokens.end, timeToFirstToken: time))
            if tokens.end != nil { remove(request) }
        }
        return items.mapValues { TokenBatch(node: node, items: $0) }
    }

    private struct Tokens {
        let first: Int
        var ids: [Int32] = []
        var end: TokenBatch.End?
    }

    /// Each request's tokens in the order of their indexes, requests in the order of their first event.
    private func joined(_ events: [TokenEvent]) -> [(request: UInt64, tokens: Tokens)] {
        var all: [(request: UInt64, tokens: Tokens)] = []
        var places: [UInt64: Int] = [:]
        for event in events {
            let place = places[event.request] ?? all.count
            if place == all.count {
                places[event.request] = place
                all.append((event.request, Tokens(first: max(event.index, 0))))
            }
            if event.token >= 0 { all[place].tokens.ids.append(event.token) }
            if let finish = event.finish {
                all[place].tokens.end = TokenBatch.End(finish.onTheWire, reason: event.reason ?? "")
            }
        }
        return all
    }
}

extension FinishReason {
    fileprivate var onTheWire: TokenBatch.End.Kind {
        switch self {
        case .stop: .stop
        case .length: .length
        case .cancelled: .cancelled
        case .interrupted: .unavailable
        case .failed, .diverged: .failed
        }
    }
}
