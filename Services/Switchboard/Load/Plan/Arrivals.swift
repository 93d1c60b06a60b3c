import Foundation

/// When clients arrive. Pure: it gives moments, and whoever asks lets the time pass.
struct Arrivals {
    enum Pattern: Sendable, Equatable {
        /// A closed system: so many clients, the first at once and the last after `over`. Each begins its next turn when
        /// its last has ended, so that a slow cluster is asked less.
        case clients(Int, over: Duration)
        /// An open system: clients arrive independently of each other and of the answers (a Poisson process), each with
        /// one conversation, so that a slow cluster is asked as much as a fast one.
        case rate(perSecond: Double)
    }

    private let pattern: Pattern
    private var arrived = 0
    /// Since the start; nil when nobody comes any more.
    private(set) var next: Duration?

    init(_ pattern: Pattern, using random: inout some RandomNumberGenerator) {
        self.pattern = pattern
        switch pattern {
        case .clients(let count, _): next = count > 0 ? .zero : nil
        case .rate(let rate): next = Arrivals.gap(rate, using: &random)
        }
    }

    /// The moment of an arrival that is due by `now`, once for each; it lies before `now` when the caller is late.
    mutating func take(at now: Duration, using random: inout some RandomNumberGenerator) -> Duration? {
        guard let due = next, due <= now else { return nil }
        arrived += 1
        switch pattern {
        case .clients(let count, let span): next = arrived < count ? span * arrived / count : nil
        case .rate(let rate): next = due + Arrivals.gap(rate, using: &random)
        }
        return due
    }

    /// The time to the next arrival of a Poisson process is exponentially distributed.
    private static func gap(_ rate: Double, using random: inout some RandomNumberGenerator) -> Duration {
        let uniform = Double.random(in: Double.leastNonzeroMagnitude...1, using: &random)
        return .nanoseconds(Int64(-log(uniform) / rate * 1e9))
    }
}
