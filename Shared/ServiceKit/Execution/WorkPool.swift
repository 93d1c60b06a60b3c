import Foundation
import Synchronization

/// Threads for computation that would hold one of Swift's cooperative threads for milliseconds: planning of prompts, JSON and
/// compression of large bodies. The cooperative threads are as few as the cores, and everything that streams runs on them.
///
/// Work is known by the bytes that it goes through. What is small is done where it is asked for, since it takes less than a
/// change of threads is worth. The rest waits in two lanes with threads of their own, so that a usual prompt never waits
/// behind a megabyte. Heavy threads run at a lower priority than everything else in the process.
public final class WorkPool: Sendable {
    /// The process' own. Threads are started at its first use.
    public static let shared = WorkPool()

    /// Up to so many bytes work is done in place.
    public static let inPlaceBytes = 8 << 10
    /// Up to so many bytes it goes to the light lane.
    public static let lightBytes = 64 << 10
    /// Pieces of work that wait in one lane, at most.
    public static let defaultCapacity = 4096

    /// As many pieces of work wait as may.
    public struct Full: Error, Sendable {
        public init() {}
    }

    /// Tells running work that nobody waits for it any more.
    public final class Ticket: Sendable {
        private let cancelled = Atomic(false)

        public init() {}

        public var isCancelled: Bool { cancelled.load(ordering: .relaxed) }

        /// - Throws: `CancellationError` when the task that waits for the work was cancelled.
        public func check() throws {
            if isCancelled { throw CancellationError() }
        }

        fileprivate func cancel() { cancelled.store(true, ordering: .relaxed) }
    }

    private let light: Lane
    private let heavy: Lane

    /// - Parameters:
    ///   - heavyThreads: how much heavy work is done at the same time. By default half the cores.
    ///   - capacity: pieces of work that wait in each lane.
    public init(
        heavyThreads: Int = max(1, ProcessInfo.processInfo.activeProcessorCount / 2),
        capacity: Int = WorkPool.defaultCapacity
    ) {
        light = Lane(name: "work-light", threads: 1, capacity: capacity, niceness: 0)
        heavy = Lane(name: "work-heavy", threads: heavyThreads, capacity: capacity, niceness: Lane.heavyNiceness)
    }

    deinit {
        light.close()
        heavy.close()
    }

    /// Does the work and returns what it returns.
    /// - Parameters:
    ///   - bytes: how much it goes through.
    ///   - work: is given a ticket, on which work in several steps looks between two of them.
    /// - Throws: what the work throws; `Full`; `CancellationError` when the task was cancelled before the work began.
    public func run<Result: Sendable>(
        bytes: Int, _ work: @escaping @Sendable (Ticket) throws -> Result
    ) async throws -> Result {
        if bytes <= Self.inPlaceBytes { return try work(Ticket()) }
        return try await (bytes <= Self.lightBytes ? light : heavy).run(work)
    }
}

/// A bounded queue and the threads that work it off in order.
private final class Lane: Sendable {
    /// The kernel gives such a thread about a third of what one without gets, when both want to run.
    static let heavyNiceness: Int32 = 5

    private struct Job {
        let ticket: WorkPool.Ticket
        /// Given an error, ends the waiting with it; else does the work.
        let perform: @Sendable ((any Error)?) -> Void
    }

    private struct State {
        var waiting: [Job] = []
        var threads = 0
        var isClosed = false
    }

    private let name: String
    private let threads: Int
    private let capacity: Int
    private let niceness: Int32
    private let state = Mutex(State())
    /// Counts what was put in; a job that was cancelled leaves its count behind, and a thread finds nothing.
    private let count = DispatchSemaphore(value: 0)

    init(name: String, threads: Int, capacity: Int, niceness: Int32) {
        self.name = name
        self.threads = threads
        self.capacity = capacity
        self.niceness = niceness
    }

    func run<Result: Sendable>(
        _ work: @escaping @Sendable (WorkPool.Ticket) throws -> Result
    ) async throws -> Result {
        let ticket = WorkPool.Ticket()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Result, any Error>) in
                add(
                    Job(ticket: ticket) { refusal in
                        if let refusal { return continuation.resume(throwing: refusal) }
                        continuation.resume(with: Swift.Result { try work(ticket) })
                    })
            }
        } onCancel: {
            cancel(ticket)
        }
    }

    private func add(_ job: Job) {
        let (refusal, startsThread) = state.withLock { state -> ((any Error)?, Bool) in
            if job.ticket.isCancelled { return (CancellationError(), false) }
            guard state.waiting.count < capacity, !state.isClosed else { return (WorkPool.Full(), false) }
            state.waiting.append(job)
            guard state.threads < threads else { return (nil, false) }
            state.threads += 1
            return (nil, true)
        }
        if let refusal { return job.perform(refusal) }
        if startsThread {
            let thread = Thread { [self] in work() }
            thread.name = name
            // What renders templates recurses.
            thread.stackSize = 8 << 20
            thread.start()
        }
        count.signal()
    }

    private func cancel(_ ticket: WorkPool.Ticket) {
        ticket.cancel()
        let job = state.withLock { state -> Job? in
            guard let index = state.waiting.firstIndex(where: { $0.ticket === ticket }) else { return nil }
            return state.waiting.remove(at: index)
        }
        job?.perform(CancellationError())
    }

    func close() {
        let left = state.withLock { state in
            state.isClosed = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for job in left { job.perform(CancellationError()) }
        for _ in 0..<threads { count.signal() }
    }

    private func work() {
        // Of the calling thread alone, on Linux. Without it the work is done all the same.
        if niceness != 0 { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness) }
        while true {
            count.wait()
            let (job, isClosed) = state.withLock { state in
                (state.waiting.isEmpty ? nil : state.waiting.removeFirst(), state.isClosed)
            }
            job?.perform(nil)
            if isClosed { return }
        }
    }
}
