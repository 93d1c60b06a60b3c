import Foundation
import Synchronization

/// One thread that runs an actor's jobs and watches that actor's sockets, so that a blocking C client
/// (librabbitmq, hiredis, libpq) never stands on Swift's cooperative pool.
///
/// An actor adopts it by returning it as its `unownedExecutor`. Its sockets are polled together with a mailbox (a
/// pipe), so that a thread that waits for the network is always free to take the actor's next job, and the reverse.
/// Several actors may share one executor; they then take turns on its thread.
///
/// Handlers given to `watch` and `schedule` run on the thread itself; reach the actor there with `assumeIsolated`.
public final class SocketExecutor: SerialExecutor, Sendable {
    /// What a watched descriptor is waiting for, or has become.
    public struct Readiness: OptionSet, Sendable {
        public let rawValue: Int16
        public init(rawValue: Int16) { self.rawValue = rawValue }
        public static let readable = Readiness(rawValue: Int16(POLLIN))
        public static let writable = Readiness(rawValue: Int16(POLLOUT))
        /// The peer is gone or the socket is in error; reported even when it was not asked for.
        public static let closed = Readiness(rawValue: Int16(POLLERR | POLLHUP | POLLNVAL))
    }

    public struct TimerID: Hashable, Sendable {
        let sequence: UInt64
    }

    /// What other threads may touch.
    private struct Mailbox {
        var jobs: [UnownedJob] = []
        var thread: pthread_t?
        var wakeIsPending = false
        var isShutDown = false
    }

    private let mailbox = Mutex(Mailbox())
    private let poller: Poller
    public let name: String

    /// - Parameter name: the thread's name as the system shows it (at most 15 bytes are kept).
    public init(name: String) {
        self.name = name
        self.poller = Poller()
        let thread = Thread { [self] in run() }
        thread.name = name
        thread.start()
    }

    // MARK: SerialExecutor

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let mustWake = mailbox.withLock { box in
            box.jobs.append(job)
            guard !box.wakeIsPending else { return false }
            box.wakeIsPending = true
            return true
        }
        if mustWake { poller.wake() }
    }

    public func checkIsolated() {
        guard isOnThread else { preconditionFailure("not on the thread of executor \(name)") }
    }

    public func isIsolatingCurrentContext() -> Bool? { isOnThread }

    private var isOnThread: Bool {
        mailbox.withLock { box in box.thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false }
    }

    // MARK: Sockets and timers (on the executor's thread only)

    /// Calls `handler` whenever the descriptor is ready for one of `events`. Replaces an earlier watch of it.
    public func watch(
        _ descriptor: Int32, for events: Readiness, handler: @escaping (Readiness) -> Void
    ) {
        checkIsolated()
        poller.watch(descriptor, for: events, handler: handler)
    }

    /// Ends the watch of a descriptor; call it before the descriptor is closed.
    public func unwatch(_ descriptor: Int32) {
        checkIsolated()
        poller.unwatch(descriptor)
    }

    /// Calls `handler` once, on the executor's thread, after at least `delay`.
    @discardableResult
    public func schedule(after delay: Duration, handler: @escaping () -> Void) -> TimerID {
        checkIsolated()
        return poller.schedule(at: .now + delay, handler: handler)
    }

    public func cancel(_ timer: TimerID) {
        checkIsolated()
        poller.cancel(timer)
    }

    /// Ends the thread as soon as nothing is enqueued, watched or scheduled. An actor's job that comes later would
    /// never run: call this when the actor's last work, closing its sockets, has returned.
    public func shutDown() {
        mailbox.withLock { $0.isShutDown = true }
        poller.wake()
    }

    private func run() {
        mailbox.withLock { $0.thread = pthread_self() }
        let executor = asUnownedSerialExecutor()
        while true {
            let (jobs, ends) = mailbox.withLock { box in
                box.wakeIsPending = false
                defer { box.jobs.removeAll(keepingCapacity: true) }
                return (box.jobs, box.isShutDown)
            }
            for job in jobs { job.runSynchronously(on: executor) }
            if jobs.isEmpty && ends && poller.isIdle { break }
            poller.poll(mayBlock: jobs.isEmpty)
        }
    }
}

/// The thread-bound half of the executor: descriptors, timers and the pipe that wakes the thread.
///
/// poll(2) and a pipe, not epoll and an eventfd: an executor watches a handful of sockets, and these need no C shim.
///
/// `@unchecked Sendable`: all state but the pipe's two descriptors is touched on the executor's thread only, which
/// `SocketExecutor.checkIsolated` enforces; `wake` only writes to the pipe.
private final class Poller: @unchecked Sendable {
    private struct Timer {
        let id: SocketExecutor.TimerID
        let deadline: ContinuousClock.Instant
        let handler: () -> Void
    }

    private let wakeReader: Int32
    private let wakeWriter: Int32
    private var watched: [pollfd]  // [0] is the pipe
    private var handlers: [Int32: (SocketExecutor.Readiness) -> Void] = [:]
    private var timers: [Timer] = []  // few (heartbeats, reconnects, time-outs): a scan beats a heap
    private var lastTimer: UInt64 = 0

    init() {
        var ends: [Int32] = [-1, -1]
        // Only descriptors running out brings us here, at start, before any input was read: nothing can run then.
        guard pipe(&ends) == 0 else { fatalError("no descriptors left for an executor") }
        (wakeReader, wakeWriter) = (ends[0], ends[1])
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        watched = [pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0)]
    }

    deinit {
        close(wakeReader)
        close(wakeWriter)
    }

    var isIdle: Bool { handlers.isEmpty && timers.isEmpty }

    func wake() {
        var byte: UInt8 = 1
        // A full pipe already wakes the thread, so a refused write is as good as a done one.
        _ = write(wakeWriter, &byte, 1)
    }

    func watch(
        _ descriptor: Int32, for events: SocketExecutor.Readiness, handler: @escaping (SocketExecutor.Readiness) -> Void
    ) {
        handlers[descriptor] = handler
        if let position = watched.firstIndex(where: { $0.fd == descriptor }) {
            watched[position].events = events.rawValue
        } else {
            watched.append(pollfd(fd: descriptor, events: events.rawValue, revents: 0))
        }
    }

    func unwatch(_ descriptor: Int32) {
        guard handlers.removeValue(forKey: descriptor) != nil else { return }
        watched.removeAll { $0.fd == descriptor }
    }

    func schedule(at deadline: ContinuousClock.Instant, handler: @escaping () -> Void) -> SocketExecutor.TimerID {
        lastTimer += 1
        let id = SocketExecutor.TimerID(sequence: lastTimer)
        timers.append(Timer(id: id, deadline: deadline, handler: handler))
        return id
    }

    func cancel(_ timer: SocketExecutor.TimerID) {
        timers.removeAll { $0.id == timer }
    }

    func poll(mayBlock: Bool) {
        let count = Foundation.poll(&watched, nfds_t(watched.count), mayBlock ? millisecondsToNextTimer() : 0)
        if count > 0 {
            if watched[0].revents != 0 { drainPipe() }
            // A copy: handlers change the list. Each handler is looked up anew, since an earlier one may have ended it.
            for entry in watched.dropFirst() where entry.revents != 0 {
                handlers[entry.fd]?(SocketExecutor.Readiness(rawValue: entry.revents))
            }
        }
        fireTimers()
    }

    private func drainPipe() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(wakeReader, &bytes, bytes.count) == bytes.count {}
    }

    private func millisecondsToNextTimer() -> Int32 {
        guard let next = timers.lazy.map(\.deadline).min() else { return -1 }
        let (seconds, attoseconds) = (next - .now).components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        // Rounded up, so that the thread does not spin through the last fraction of a millisecond.
        return Int32(min(seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1, 60_000))
    }

    private func fireTimers() {
        guard !timers.isEmpty else { return }
        let now = ContinuousClock.now
        let due = timers.filter { $0.deadline <= now }.sorted { $0.deadline < $1.deadline }
        for timer in due {
            // A handler that fired before this one may have cancelled it.
            guard let position = timers.firstIndex(where: { $0.id == timer.id }) else { continue }
            timers.remove(at: position)
            timer.handler()
        }
    }
}
