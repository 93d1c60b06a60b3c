/// Whether calls to a dependency are let through: a state machine without I/O, to which time is given.
///
/// Closed, every call passes. A run of failures opens it: so many, over so long a time, and no success between. Open, it
/// refuses at once, until a delay with jitter is over or an answer comes to an earlier call. Then it is half-open: one
/// call passes, the probe. Its success closes the breaker, its failure opens it again for longer. A new connection whose
/// greeting was answered closes it as well: nobody is refused by a store that is back.
///
/// Failures of calls that began before the breaker opened say nothing new, and are not heard.
public struct CircuitBreaker: Sendable {
    public typealias Instant = ContinuousClock.Instant

    public enum State: String, Sendable, CaseIterable {
        case closed
        case halfOpen = "half-open"
        case open
    }

    /// What a call's end says about the dependency, not about the caller.
    public enum Verdict: Sendable {
        /// It answered, be it with a refusal that is the caller's own fault.
        case success
        /// It is away, silent or broken.
        case failure
        /// Nothing: the caller was cancelled, or this process had no room for the call.
        case neither
    }

    public struct Policy: Sendable {
        /// Failures in a row that open it, and the time since the first of these calls began or the last success came.
        /// The time keeps one connection's death, which fails all calls on it in one instant, from counting as a run.
        public var failures = 5
        public var span: Duration = .seconds(1)
        /// From opening to the first probe, and from a failed probe to the next.
        public var delay = Backoff(base: .milliseconds(200), cap: .seconds(2))
        /// A probe that takes longer no longer keeps another from being sent.
        public var probePatience: Duration = .seconds(3)

        public init() {}
    }

    /// The right to make one call; `settle` tells its end.
    public struct Permit: Sendable {
        public let startedAt: Instant
        /// How often the breaker had opened when it was given.
        fileprivate let openings: UInt64
    }

    public enum Admission: Sendable {
        case permitted(Permit)
        case refused(retryAfter: Duration)
    }

    private enum Phase {
        case closed
        case open(until: Instant)
        /// `probe`: when the probe that is out was sent.
        case halfOpen(probe: Instant?)
    }

    private let policy: Policy
    private var phase = Phase.closed
    private var delay: Backoff
    /// How often it has opened.
    public private(set) var openings: UInt64 = 0
    private var failures = 0
    private var runBegan: Instant?
    private var lastSuccess: Instant?

    public init(policy: Policy = Policy()) {
        self.policy = policy
        delay = policy.delay
    }

    public var state: State {
        switch phase {
        case .closed: .closed
        case .open: .open
        case .halfOpen: .halfOpen
        }
    }

    /// Whether a call would pass now as a probe.
    public func isProbeDue(at now: Instant) -> Bool {
        switch phase {
        case .closed: false
        case .open(let until): until <= now
        case .halfOpen(let probe): probe.map { $0 + policy.probePatience <= now } ?? true
        }
    }

    public mutating func admit(at now: Instant) -> Admission {
        switch phase {
        case .closed: break
        case .open(let until):
            guard until <= now else { return .refused(retryAfter: until - now) }
            phase = .halfOpen(probe: now)
        case .halfOpen(let probe):
            if let probe, now < probe + policy.probePatience {
                return .refused(retryAfter: probe + policy.probePatience - now)
            }
            phase = .halfOpen(probe: now)
        }
        return .permitted(Permit(startedAt: now, openings: openings))
    }

    /// Tells how a permitted call ended.
    public mutating func settle(
        _ permit: Permit, _ verdict: Verdict, at now: Instant, using random: inout some RandomNumberGenerator
    ) {
        let isOfThisOpening = permit.openings == openings
        switch (verdict, phase) {
        case (.success, .closed):
            delay.reset()
            close(at: now)
        case (.success, .open), (.success, .halfOpen):
            guard isOfThisOpening else { return signOfLife() }
            delay.reset()
            close(at: now)
        case (.failure, .closed) where isOfThisOpening:
            failures += 1
            let earliest = min(runBegan ?? permit.startedAt, permit.startedAt)
            let began = lastSuccess.map { max($0, earliest) } ?? earliest
            runBegan = began
            if failures >= policy.failures, now - began >= policy.span { open(at: now, using: &random) }
        case (.failure, .halfOpen(let probe)) where isOfThisOpening && probe == permit.startedAt:
            open(at: now, using: &random)
        case (.neither, .halfOpen(let probe)) where isOfThisOpening && probe == permit.startedAt:
            phase = .halfOpen(probe: nil)
        case (.failure, _), (.neither, _): break
        }
    }

    /// A new connection's greeting was answered: as good as a probe. Only the delays that grew stay, until a call succeeds.
    public mutating func reconnected(at now: Instant) {
        if case .closed = phase { return }
        close(at: now)
    }

    /// An answer to a call from before it opened: it may have been on the way for long, but a probe is due.
    private mutating func signOfLife() {
        if case .open = phase { phase = .halfOpen(probe: nil) }
    }

    private mutating func close(at now: Instant) {
        phase = .closed
        (failures, runBegan, lastSuccess) = (0, nil, now)
    }

    private mutating func open(at now: Instant, using random: inout some RandomNumberGenerator) {
        openings += 1
        phase = .open(until: now + delay.next(using: &random))
        (failures, runBegan) = (0, nil)
    }
}
