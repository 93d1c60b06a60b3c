/// What a run has counted and timed so far.
struct LoadRecord: Sendable {
    /// Why something failed, and how often. Bounded: what a server says is not a series.
    struct Reasons: Sendable {
        static let maximum = 64
        static let maximumCharacters = 160
        static let others = "other"
        private(set) var counts: [String: Int] = [:]

        mutating func count(_ reason: String) {
            let short = String(reason.prefix(Reasons.maximumCharacters))
            let isKnown = counts[short] != nil || counts.count < Reasons.maximum
            counts[isKnown ? short : Reasons.others, default: 0] += 1
        }

        var sum: Int { counts.values.reduce(0, +) }
        var sorted: [(reason: String, count: Int)] {
            counts.map { ($0.key, $0.value) }.sorted { ($1.1, $0.0) < ($0.1, $1.0) }
        }
    }

    /// From when a turn was due to the answer of its POST.
    var accept = LatencyHistogram()
    /// The same to its first token.
    var firstToken = LatencyHistogram()
    /// Between two tokens of one connection, as they arrive: those that arrive together have none.
    var betweenTokens = LatencyHistogram()
    /// From when a turn was due to its end.
    var whole = LatencyHistogram()
    /// From a stream's lost or dropped connection to the first byte of the next.
    var resume = LatencyHistogram()
    /// From when a turn was due to when it was begun: what this command itself was late.
    var late = LatencyHistogram()
    /// What gateways say of accepting, by the names in their Server-Timing.
    private(set) var serverTiming: [String: LatencyHistogram] = [:]
    static let maximumServerTimings = 16

    var begun = 0
    /// Ended as done, or accepted and not followed.
    var done = 0
    /// Begun and not ended when the time was over.
    var cut = 0
    /// Arrivals that found as many turns open as there may be.
    var notBegun = 0
    var tokens = 0
    /// Tokens that came in the time that is measured for the rate, and that time.
    var steadyTokens = 0
    var steadyTime: Duration = .zero
    /// Connections that were dropped on purpose.
    var dropped = 0
    /// Connections that ended before their turn did, by what was seen.
    var lost = Reasons()
    /// Turns that came to no good end, and requests that were refused, by reason.
    var errors = Reasons()

    // A server that keeps its word never causes one of these.
    /// Tokens that came again.
    var doubled = 0
    /// Connections on which a token was missing.
    var missing = 0
    /// Turns whose tokens are not as many as their usage says.
    var miscounted = 0

    var violations: Int { doubled + missing + miscounted }
    var isClean: Bool { violations == 0 && errors.sum == 0 && notBegun == 0 }

    mutating func recordServerTiming(_ header: String) {
        for (name, time) in ServerTiming.parse(header) {
            guard serverTiming[name] != nil || serverTiming.count < LoadRecord.maximumServerTimings else { continue }
            serverTiming[name, default: LatencyHistogram()].record(time)
        }
    }
}

/// The header Server-Timing (W3C): `name;dur=milliseconds`, with commas between.
enum ServerTiming {
    static func parse(_ header: String) -> [(name: String, time: Duration)] {
        header.split(separator: ",").compactMap { part in
            let fields = part.split(separator: ";").map { $0.filter { $0 != " " } }
            guard let name = fields.first, !name.isEmpty, name.utf8.count <= 40,
                let text = fields.dropFirst().first(where: { $0.hasPrefix("dur=") })?.dropFirst(4),
                let milliseconds = Double(text), (0...1e9).contains(milliseconds)
            else { return nil }
            return (name, .nanoseconds(Int64(milliseconds * 1e6)))
        }
    }
}
