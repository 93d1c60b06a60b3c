import Synchronization

/// Lets something be done at most once in an interval, whoever asks.
public final class Throttle: Sendable {
    private let interval: Duration
    private let last = Mutex<ContinuousClock.Instant?>(nil)

    public init(_ interval: Duration) { self.interval = interval }

    /// Whether it may be done now; the next one who asks within the interval is told no.
    public func take(at now: ContinuousClock.Instant = .now) -> Bool {
        last.withLock { last in
            if let last, now < last + interval { return false }
            last = now
            return true
        }
    }
}
