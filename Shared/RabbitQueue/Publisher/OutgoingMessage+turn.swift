import ChatCore

extension OutgoingMessage {
    /// How long after its deadline a turn that nobody holds stays in its queue: whoever holds it ends it at the deadline.
    public static let expiryGrace: Duration = .seconds(1)

    /// A turn for its queue. When nobody takes it, it dies there after its deadline, so that somebody ends it.
    /// - Parameters:
    ///   - body: the turn, encoded.
    ///   - now: Unix milliseconds of the Redis clock, on which the deadline is.
    public init(turn: Turn, body: [UInt8], now: Int64) {
        self.init(
            queue: Topology.queue(for: turn.kind), body: body, id: turn.id.description,
            expiration: Self.timeLeft(of: turn, now: now))
    }

    /// The longest that a message may live bounds it, and zero from below: a turn's times may be anybody's.
    public static func timeLeft(of turn: Turn, now: Int64) -> Duration {
        let (left, isBeyond) = turn.deadline.subtractingReportingOverflow(now)
        guard !isBeyond else { return turn.deadline < now ? expiryGrace : maximumExpiration }
        return min(.milliseconds(max(0, left)) + expiryGrace, maximumExpiration)
    }
}

extension Topology {
    public static func queue(for kind: Turn.Kind) -> String {
        switch kind {
        case .chat: chatQueue
        case .stream: streamQueue
        case .batch: batchQueue
        }
    }
}
