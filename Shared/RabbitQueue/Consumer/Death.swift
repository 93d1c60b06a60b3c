/// How a message came to be dead-lettered.
public struct Death: Sendable, Equatable {
    /// The queue it died in.
    public let queue: String
    /// The broker's word (`expired`, `rejected`, `delivery_limit`, `maxlen`), or the words of the consumer that gave it
    /// up. At most `maximumReasonBytes` of those.
    public let reason: String

    static let maximumReasonBytes = 1000
    private static let reasonHeader = "reason"
    private static let queueHeader = "queue"

    public init(queue: String, reason: String) {
        self.queue = queue
        self.reason = reason
    }

    /// What a consumer said when it gave the message up.
    init?(saidIn headers: [String: String]) {
        guard let queue = headers[Self.queueHeader], let reason = headers[Self.reasonHeader] else { return nil }
        self.init(queue: queue, reason: reason)
    }

    var headers: [String: String] { [Self.queueHeader: queue, Self.reasonHeader: reason] }
}

extension OutgoingMessage {
    /// A copy of a message for the dead letter queue, with the reason: a rejected message has none. Publish it with
    /// confirm before the delivery is acknowledged.
    /// - Parameter body: the message's, when the delivery has none any more.
    public init(givenUp delivery: Delivery, body: [UInt8]? = nil, reason: String) {
        let bounded = String(decoding: reason.utf8.prefix(Death.maximumReasonBytes), as: UTF8.self)
        self.init(
            queue: Topology.deadLetterQueue, body: body ?? delivery.body,
            // A foreign message may have no id; ours always do.
            id: delivery.id.flatMap { $0.isEmpty ? nil : $0 } ?? "unknown",
            headers: Death(queue: delivery.queue, reason: bounded).headers)
    }
}
