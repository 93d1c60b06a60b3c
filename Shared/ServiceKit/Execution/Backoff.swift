/// Exponential backoff with jitter: the n-th delay, from the first on, is uniform in [base, min(cap, base · 2^n)].
///
/// Jitter keeps the clients of a server that came back from all calling it in the same instant, at the first attempt
/// already. The base keeps a delay from being none at all.
public struct Backoff: Sendable {
    public let base: Duration
    public let cap: Duration
    private var attempt = 0

    /// What lived shorter was no success: the next delay grows on, so that a server that takes connections and hangs
    /// up is not hammered.
    public static let steadyAfter: Duration = .seconds(5)

    public init(base: Duration = .milliseconds(50), cap: Duration = .seconds(2)) {
        self.base = base
        self.cap = cap
    }

    /// The delay before the next attempt. `random` is injected so that a failing run can be repeated.
    public mutating func next(using random: inout some RandomNumberGenerator) -> Duration {
        attempt = min(attempt + 1, 20)
        let spread = (min(cap, base * (1 << attempt)) - base) / .milliseconds(1)
        guard spread > 0 else { return base }
        return base + .milliseconds(Double.random(in: 0...spread, using: &random))
    }

    public mutating func next() -> Duration {
        var random = SystemRandomNumberGenerator()
        return next(using: &random)
    }

    /// The delay before connecting again, after a connection that lived so long (or an attempt that took so long).
    public mutating func next(afterLifeOf life: Duration) -> Duration {
        if life > Backoff.steadyAfter { reset() }
        return next()
    }

    public mutating func reset() { attempt = 0 }
}
