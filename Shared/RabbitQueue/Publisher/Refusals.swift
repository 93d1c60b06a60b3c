/// Which queues refuse what is published to them. Pure.
///
/// A queue that has just been declared may refuse a channel's first publish; one that refuses several in a row is full, or
/// has no leader. Whoever publishes much asks here first, and lets one through now and then to find out whether it is over.
struct Refusals {
    /// In a row, without a confirm between.
    static let enough = 4
    /// How long the last one is believed.
    static let lifetime: Duration = .seconds(1)
    /// Queues that are remembered; nodes' queues come and go.
    private static let capacity = 64

    private var queues: [String: (count: Int, last: ContinuousClock.Instant)] = [:]

    var isEmpty: Bool { queues.isEmpty }

    mutating func refused(by queue: String, at now: ContinuousClock.Instant) {
        let count = queues[queue]?.count ?? 0
        if count == 0, queues.count >= Self.capacity { queues = queues.filter { now - $0.value.last < Self.lifetime } }
        guard count > 0 || queues.count < Self.capacity else { return }
        queues[queue] = (min(count + 1, Self.enough), now)
    }

    mutating func confirmed(by queue: String) { queues[queue] = nil }

    func isRefused(by queue: String, at now: ContinuousClock.Instant) -> Bool {
        queues[queue].map { $0.count >= Self.enough && now - $0.last < Self.lifetime } ?? false
    }
}
