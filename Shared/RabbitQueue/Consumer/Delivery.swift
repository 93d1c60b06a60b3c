import Synchronization

/// A message that this process holds unacknowledged: its channel is the claim on it.
public struct Delivery: Sendable {
    /// Empty after `forgetBody`.
    public var body: [UInt8] { content.bytes.withLock { $0 } }
    /// How many the body has.
    public let bytes: Int
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
    let consumer: PrefetchPace.Consumer
    let core: ConsumerCore

    private let content: Content

    /// Shared by all copies of a delivery, so that all of them let go of it.
    private final class Content: Sendable {
        let bytes: Mutex<[UInt8]>
        init(_ bytes: [UInt8]) { self.bytes = Mutex(bytes) }
    }

    init(
        body: [UInt8], header: ContentHeader, redelivered: Bool, queue: String, tag: UInt64, generation: UInt64,
        consumer: PrefetchPace.Consumer, core: ConsumerCore
    ) {
        content = Content(body)
        bytes = body.count
        id = header.messageID
        headers = header.headers
        self.redelivered = redelivered
        deliveryCount = max(0, Int(header.headers["x-delivery-count"] ?? "") ?? 0)
        death = Death(saidIn: header.headers) ?? header.death
        self.queue = queue
        self.tag = tag
        self.generation = generation
        self.consumer = consumer
        self.core = core
    }

    /// Lets go of the body, in all copies: for whoever has decoded it and would hold both for long. The claim on the
    /// message stays.
    public func forgetBody() { content.bytes.withLock { $0 = [] } }

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
