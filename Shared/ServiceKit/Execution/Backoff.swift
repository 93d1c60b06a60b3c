/// Exponential backoff with full jitter: the n-th delay is uniform in [base, min(cap, base · 2^n)].
///
/// Jitter keeps the clients of a server that came back from all calling it in the same instant.
public struct Backoff: Sendable {
    public let base: Duration
    public let cap: Duration
    private var attempt = 0

    public init(base: Duration = .milliseconds(50), cap: Duration = .seconds(5)) {
        self.base = base
        self.cap = cap
    }

    /// The delay before the next attempt. `random` is injected so that a failing run can be repeated.
    public mutating func next(using random: inout some RandomNumberGenerator) -> Duration {
        let ceiling = min(cap, base * (1 << min(attempt, 20)))
        attempt += 1
        let spread = (ceiling - base) / .milliseconds(1)
        guard spread > 0 else { return base }
        return base + .milliseconds(Double.random(in: 0...spread, using: &random))
    }

    public mutating func next() -> Duration {
        var random = SystemRandomNumberGenerator()
        return next(using: &random)
    }

    public mutating func reset() { attempt = 0 }
}
