/// The one thing that an engine's thread shares with its callers: requests and cancellations in, statistics out.
///
/// Bounded: submissions count against the waiting queue, a request in progress can be cancelled once. The lock is held for a few
/// copies at a time, so callers on the cooperative pool never wait for a step.
final class Mailbox: @unchecked Sendable {  // every stored variable is guarded by `condition`
    /// What the thread finds when it looks.
    struct Mail {
        var submissions: [GenerationRequest] = []
        var cancellations: [UInt64] = []
        var shutdown: ShutdownMode?

        var isEmpty: Bool { submissions.isEmpty && cancellations.isEmpty && shutdown == nil }
    }

    private let condition = MonotonicCondition()
    private let maxWaiting: Int
    private var mail = Mail()
    /// Requests accepted and not ended.
    private var live: Set<UInt64> = []
    private var cancelled: Set<UInt64> = []
    /// Requests in the engine's queue when it was last published, and those taken since.
    private var waiting = 0
    private var shutdown: ShutdownMode?
    private var hasEnded = false
    private var awaitingEnd: [CheckedContinuation<Void, Never>] = []
    private var current: EngineStatistics

    init(maxWaiting: Int, statistics: EngineStatistics) {
        self.maxWaiting = maxWaiting
        current = statistics
    }

    // MARK: Callers

    func submit(_ request: GenerationRequest) throws(EngineError) {
        condition.lock()
        defer { condition.unlock() }
        guard shutdown == nil, !hasEnded else { throw .shutDown }
        guard !live.contains(request.id) else {
            throw .invalidRequest(field: "id", reason: "request \(request.id) is in progress")
        }
        let queued = waiting + mail.submissions.count
        guard queued < maxWaiting else {
            throw .overloaded("\(queued) requests wait, the bound is \(maxWaiting)")
        }
        live.insert(request.id)
        mail.submissions.append(request)
        condition.signal()
    }

    func cancel(_ id: UInt64) {
        condition.lock()
        defer { condition.unlock() }
        guard live.contains(id), cancelled.insert(id).inserted else { return }
        mail.cancellations.append(id)
        condition.signal()
    }

    /// Asks the thread to end. A later call may hasten it, never slow it down.
    func requestShutdown(_ mode: ShutdownMode) {
        condition.lock()
        defer { condition.unlock() }
        if case .atOnce = shutdown { return }
        shutdown = mode
        mail.shutdown = mode
        condition.signal()
    }

    func untilEnded() async {
        await withCheckedContinuation { continuation in
            condition.lock()
            guard !hasEnded else {
                condition.unlock()
                return continuation.resume()
            }
            awaitingEnd.append(continuation)
            condition.unlock()
        }
    }

    var statistics: EngineStatistics {
        condition.lock()
        defer { condition.unlock() }
        return current
    }

    // MARK: The engine's thread

    /// All that came in; with `parking` the thread sleeps until something does or, when given, the time of ``MonotonicClock``
    /// has come.
    func take(parking: Bool, until deadline: Double? = nil) -> Mail {
        condition.lock()
        defer { condition.unlock() }
        while parking, mail.isEmpty {
            if !condition.wait(until: deadline) { break }
        }
        defer { mail = Mail() }
        waiting += mail.submissions.count
        return mail
    }

    /// Publishes the state after a step; ended requests' ids may be used again from now on.
    ///
    /// - Parameter queued: requests that wait and have not run yet, which are those that the bound is about.
    func publish(_ statistics: EngineStatistics, queued: Int, ended: some Sequence<UInt64>) {
        condition.lock()
        defer { condition.unlock() }
        current = statistics
        waiting = queued
        for id in ended {
            live.remove(id)
            cancelled.remove(id)
        }
    }

    /// The thread's last word.
    func end() {
        condition.lock()
        hasEnded = true
        let continuations = awaitingEnd
        awaitingEnd = []
        condition.unlock()
        for continuation in continuations { continuation.resume() }
    }
}
