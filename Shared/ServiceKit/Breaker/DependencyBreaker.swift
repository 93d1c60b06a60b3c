import Logging
import Metrics
import Synchronization

/// The circuit breaker of one dependency, shared by all who call it; logs and counts what it does.
public final class DependencyBreaker: Sendable {
    /// The call was not made.
    public struct Refusal: Error, CustomStringConvertible {
        /// The failure that opened the breaker or last kept it open.
        public let reason: String
        public let retryAfter: Duration
        public var description: String { "its circuit breaker is open: \(reason)" }
    }

    fileprivate struct Guarded {
        var breaker: CircuitBreaker
        var lastFailure = ""
        var observers: [ObjectIdentifier: Mailbox<CircuitBreaker.State>] = [:]
    }

    /// While it is not closed: how often it is looked whether a probe is due, since an answer makes it due early.
    private static let probeInterval: Duration = .milliseconds(50)

    /// `redis`, `rabbitmq`, or `database.` and the shard's name.
    public let name: String
    private let guarded: Mutex<Guarded>
    private let logger: Logger
    private let stateGauge: Gauge
    private let openings: Counter
    private let refusals: Counter
    private let failures: Counter

    public init(_ name: String, policy: CircuitBreaker.Policy = .init(), logger: Logger) {
        self.name = name
        self.logger = logger
        guarded = Mutex(Guarded(breaker: CircuitBreaker(policy: policy)))
        stateGauge = Measures.breakerState(name)
        openings = Measures.breakerOpenings(name)
        refusals = Measures.breakerRefusals(name)
        failures = Measures.dependencyFailures(name)
        stateGauge.record(CircuitBreaker.State.closed.number)
    }

    public var state: CircuitBreaker.State { guarded.withLock { $0.breaker.state } }

    /// Why it opened or last stayed open; empty before the first failure.
    public var lastFailure: String { guarded.withLock { $0.lastFailure } }

    /// The right to make a call; whoever has it tells its end to `settle`.
    public func admit() throws(Refusal) -> CircuitBreaker.Permit {
        let (admission, reason, change) = guarded.withLock { guarded in
            let before = guarded.breaker.state
            let admission = guarded.breaker.admit(at: .now)
            return (admission, guarded.lastFailure, guarded.change(since: before))
        }
        report(change)
        switch admission {
        case .permitted(let permit): return permit
        case .refused(let retryAfter):
            refusals.increment()
            throw Refusal(reason: reason, retryAfter: retryAfter)
        }
    }

    /// - Parameter reason: why it failed, in the words of the dependency's client.
    public func settle(
        _ permit: CircuitBreaker.Permit, _ verdict: CircuitBreaker.Verdict, reason: @autoclosure () -> String = ""
    ) {
        let failure = verdict == .failure ? reason() : nil
        let change = guarded.withLock { guarded in
            let before = guarded.breaker.state
            if let failure { guarded.lastFailure = failure }
            var random = SystemRandomNumberGenerator()
            guarded.breaker.settle(permit, verdict, at: .now, using: &random)
            return guarded.change(since: before)
        }
        if failure != nil { failures.increment() }
        report(change)
    }

    /// A new connection stands, and its greeting was answered.
    public func reconnected() {
        report(
            guarded.withLock { guarded in
                let before = guarded.breaker.state
                guarded.breaker.reconnected(at: .now)
                return guarded.change(since: before)
            })
    }

    // MARK: Observing

    /// Runs `body` with a mailbox that gets news whenever the state has changed, and once at the start.
    /// What `state` says counts: of several changes only the last may be seen.
    public func withChanges(_ body: (Mailbox<CircuitBreaker.State>) async -> Void) async {
        let mailbox = Mailbox<CircuitBreaker.State>(capacity: 1)
        guarded.withLock { guarded in
            guarded.observers[ObjectIdentifier(mailbox)] = mailbox
            mailbox.send(guarded.breaker.state)
        }
        await body(mailbox)
        guarded.withLock { $0.observers[ObjectIdentifier(mailbox)] = nil }
    }

    /// Calls `probe` whenever a probe is due, until cancelled: so that no caller's work is risked, and a dependency is
    /// found again that nobody asks for. The probe asks the breaker like every call.
    public func keepProbing(_ probe: @Sendable () async -> Void) async {
        await withChanges { changes in
            while await changes.receive() != nil {
                while state != .closed {
                    guard (try? await Task.sleep(for: DependencyBreaker.probeInterval)) != nil else { return }
                    if guarded.withLock({ $0.breaker.isProbeDue(at: .now) }) { await probe() }
                }
            }
        }
    }

    private func report(_ change: Guarded.Change?) {
        guard let change else { return }
        if change.wasClosed { openings.increment() }
        stateGauge.record(change.state.number)
        logger.log(
            level: change.state == .open ? .warning : .info, "a circuit breaker changed its state",
            metadata: ["dependency": "\(name)", "state": "\(change.state.rawValue)", "reason": "\(change.reason)"])
        for observer in change.observers { observer.send(change.state) }
    }
}

extension DependencyBreaker.Guarded {
    fileprivate struct Change {
        let state: CircuitBreaker.State
        let reason: String
        let wasClosed: Bool
        let observers: [Mailbox<CircuitBreaker.State>]
    }

    fileprivate func change(since before: CircuitBreaker.State) -> Change? {
        guard breaker.state != before else { return nil }
        return Change(
            state: breaker.state, reason: lastFailure, wasClosed: before == .closed, observers: Array(observers.values))
    }
}

extension CircuitBreaker.State {
    /// As the metric says it.
    fileprivate var number: Int {
        switch self {
        case .closed: 0
        case .halfOpen: 1
        case .open: 2
        }
    }
}
