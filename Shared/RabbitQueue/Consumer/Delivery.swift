/// A message that this process holds unacknowledged: its channel is the claim on it.
public struct Delivery: Sendable {
    public let body: [UInt8]
    /// AMQP's message-id.
    public let id: String?
    /// The headers that are strings, numbers or flags, as text; tables and arrays (x-death) are left out.
    public let headers: [String: String]
    /// The broker gave it out before. False does not prove that nobody ever saw it.
    public let redelivered: Bool
    /// How many times a quorum queue gave it out before (x-delivery-count); 0 where the broker does not count.
    public let deliveryCount: Int
    /// Where and why it died last, when it did: as its consumer said (`OutgoingMessage(givenUp:reason:)`), else as the
    /// broker says.
    public let death: Death?
    /// The queue it was taken from.
    public let queue: String

    let tag: UInt64
    /// Which of the consumer's channels it came on; tags mean something on their own channel only.
    let generation: UInt64
    let core: ConsumerCore

    /// Whether the channel it came on still stands. When not, the broker gives it out again.
    public var isLive: Bool { core.liveGeneration.load(ordering: .acquiring) == generation }

    /// Tells the broker that it is done with.
    ///
    /// - Throws: `.connectionLost` when the channel is gone (the broker redelivers), `.alreadySettled` at a second time.
    public func acknowledge() async throws(RabbitError) {
        try await core.settle(self, with: .basicAck(deliveryTag: tag, multiple: false))
    }

    /// Gives it back, or with `requeue` false dead-letters it. A requeued message counts as delivered and comes again
    /// at once: it is no way to wait (use a `RetryLadder`).
    public func reject(requeue: Bool) async throws(RabbitError) {
        try await core.settle(self, with: .basicReject(deliveryTag: tag, requeue: requeue))
    }
}
