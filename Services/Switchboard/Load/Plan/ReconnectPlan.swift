import ServiceKit

/// Which streams drop their connection on purpose, and when, to go on with Last-Event-ID at the next gateway.
enum ReconnectPlan: Sendable, Equatable {
    case never
    /// This part of the streams, once each, behind a token of its middle.
    case share(Double)
    /// Every stream, again and again, with this time between at the mean.
    case every(Duration)

    /// `10%`, or a time such as `30s`, `500ms` or `2m`.
    init?(_ text: String) {
        if text.hasSuffix("%") {
            guard let percent = Double(text.dropLast()), (0...100).contains(percent) else { return nil }
            self = percent > 0 ? .share(percent / 100) : .never
        } else {
            guard let interval = Duration(written: text), interval > .zero else { return nil }
            self = .every(interval)
        }
    }

    /// The token behind which a new stream of at most `tokens` drops its connection, if it does.
    func token(of tokens: Int, using random: inout some RandomNumberGenerator) -> Int? {
        guard case .share(let share) = self, tokens > 1, Double.random(in: 0..<1, using: &random) < share else {
            return nil
        }
        return Int.random(in: 1..<tokens, using: &random)
    }

    /// The time for which a new connection is kept, if it is not kept for good: half to one and a half times the
    /// interval, so that streams that began together do not all leave together.
    func life(using random: inout some RandomNumberGenerator) -> Duration? {
        guard case .every(let interval) = self else { return nil }
        return interval * Double.random(in: 0.5...1.5, using: &random)
    }
}
