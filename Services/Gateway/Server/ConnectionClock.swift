/// How long a client may take for each thing it does to its connection. Pure.
struct ConnectionClock {
    typealias Instant = ContinuousClock.Instant

    struct Limits: Sendable {
        /// Between requests, up to the end of a head; without a byte within a body; without taking what was written.
        var idle: Duration = .seconds(60)
        /// A body may take this long, and longer by what has come of it at the least rate.
        var bodyGrace: Duration = .seconds(20)
        /// Bytes a second.
        var leastBodyRate = 1024
        /// However steadily it comes.
        var body: Duration = .seconds(120)
        /// For what is under way on a connection that ends: the rest of an unwanted body; while the gateway drains, also a
        /// wanted one and what the client does not take.
        var closing: Duration = .seconds(5)
    }

    let limits: Limits
    private var phase = RequestCycle.Phase.idle
    private var since: Instant
    private var bodyBytes = 0
    private var lastBytes: Instant
    private var stalledSince: Instant?
    private var drainsSince: Instant?

    init(_ limits: Limits, at now: Instant = .now) {
        self.limits = limits
        (since, lastBytes) = (now, now)
    }

    mutating func enter(_ phase: RequestCycle.Phase, at now: Instant = .now) {
        guard phase != self.phase else { return }
        self.phase = phase
        (since, lastBytes, bodyBytes) = (now, now, 0)
    }

    /// Bytes of a body came.
    mutating func received(_ bytes: Int, at now: Instant = .now) {
        bodyBytes += bytes
        lastBytes = now
    }

    mutating func setWritable(_ isWritable: Bool, at now: Instant = .now) {
        stalledSince = isWritable ? nil : stalledSince ?? now
    }

    mutating func drain(at now: Instant = .now) { drainsSince = drainsSince ?? now }

    /// When the connection is to be closed; nil while nothing is expected of the client.
    var deadline: Instant? {
        var deadlines: [Instant] = []
        if let stalledSince { deadlines.append(stalledSince + limits.idle) }
        switch phase {
        case .idle: deadlines.append(since + limits.idle)
        case .body:
            let earned = Duration.milliseconds(bodyBytes / max(1, limits.leastBodyRate) * 1000)
            deadlines += [since + limits.body, lastBytes + limits.idle, since + limits.bodyGrace + earned]
        case .lingering: deadlines.append(since + limits.closing)
        case .answering: break
        }
        if let drainsSince, stalledSince != nil || phase == .body {
            deadlines.append(max(drainsSince, stalledSince ?? since) + limits.closing)
        }
        return deadlines.min()
    }
}
