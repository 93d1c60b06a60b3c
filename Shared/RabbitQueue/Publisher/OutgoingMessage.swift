/// A message for one queue, by way of the default exchange.
public struct OutgoingMessage: Sendable {
    /// The queue's name: the routing key on the default exchange. At most 255 bytes.
    public var queue: String
    public var body: [UInt8]
    /// AMQP's message-id: what consumers tell a repeated publish by. 1 to 255 bytes.
    public var id: String
    /// Sent as long strings. Names have 1 to 128 bytes; all together at most `maximumHeaderBytes`.
    public var headers: [String: String]
    /// 0 to 9. Quorum queues of RabbitMQ 3.10 ignore it.
    public var priority: UInt8?
    /// Written to disk by classic queues too; quorum queues always do.
    public var durable: Bool
    /// How long the message may wait in its queue. It then dies at the queue's head.
    public var expiration: Duration?

    public static let maximumHeaderBytes = 16 << 10
    public static let maximumExpiration: Duration = .seconds(30 * 86_400)

    public init(
        queue: String, body: [UInt8], id: String, headers: [String: String] = [:], priority: UInt8? = nil,
        durable: Bool = true, expiration: Duration? = nil
    ) {
        self.queue = queue
        self.body = body
        self.id = id
        self.headers = headers
        self.priority = priority
        self.durable = durable
        self.expiration = expiration
    }

    /// Refuses what the broker would answer with a closed channel, which would cost the publishes in flight.
    func validate(maximumBodyBytes: Int) throws(RabbitError) {
        guard (1...255).contains(queue.utf8.count) else {
            throw .invalid(field: "queue", reason: "must have 1 to 255 bytes")
        }
        guard (1...255).contains(id.utf8.count) else {
            throw .invalid(field: "id", reason: "must have 1 to 255 bytes")
        }
        guard body.count <= maximumBodyBytes else {
            throw .invalid(field: "body", reason: "has \(body.count) bytes, more than \(maximumBodyBytes)")
        }
        guard headers.keys.allSatisfy({ (1...128).contains($0.utf8.count) }) else {
            throw .invalid(field: "headers", reason: "a name must have 1 to 128 bytes")
        }
        guard headers.reduce(0, { $0 + $1.key.utf8.count + $1.value.utf8.count + 8 }) <= Self.maximumHeaderBytes else {
            throw .invalid(field: "headers", reason: "more than \(Self.maximumHeaderBytes) bytes together")
        }
        guard (priority ?? 0) <= 9 else { throw .invalid(field: "priority", reason: "must be 0 to 9") }
        if let expiration {
            guard expiration >= .zero, expiration <= Self.maximumExpiration else {
                throw .invalid(field: "expiration", reason: "must be 0 to 30 days")
            }
        }
    }
}
