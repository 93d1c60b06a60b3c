/// The AMQP 0-9-1 methods that a broker sends to us, with the fields we use.
enum IncomingMethod: Sendable, Equatable {
    /// The version is the server's own word for itself.
    case connectionStart(mechanisms: String, version: String?)
    case connectionTune(frameMaximum: Int)
    case connectionOpenOk
    case connectionClose(code: Int, text: String)
    case connectionCloseOk
    case connectionBlocked(reason: String)
    case connectionUnblocked
    case channelOpenOk
    case channelFlow(active: Bool)
    case channelClose(code: Int, text: String)
    case channelCloseOk
    case queueDeclareOk(messages: Int, consumers: Int)
    case queueDeleteOk
    case confirmSelectOk
    case basicQosOk
    case basicConsumeOk
    case basicCancel(consumerTag: String)
    case basicCancelOk
    case basicDeliver(consumerTag: String, deliveryTag: UInt64, redelivered: Bool)
    case basicReturn(code: Int, routingKey: String)
    case basicAck(deliveryTag: UInt64, multiple: Bool)
    case basicNack(deliveryTag: UInt64, multiple: Bool)
    /// Known to AMQP and to the codec, and nothing that may come to us.
    case other(name: String)

    /// Whether a header and a body follow.
    var hasContent: Bool {
        switch self {
        case .basicDeliver, .basicReturn: true
        default: false
        }
    }
}

/// What a content header says: the body's size and the properties we use.
struct ContentHeader: Sendable, Equatable {
    var bodySize: UInt64
    var messageID: String?
    var headers: [String: String] = [:]
    /// How long it was to wait in its queue, as its publisher said.
    var expiration: Duration?
    /// The newest entry of `x-death`.
    var death: Death?
}

/// One frame of AMQP 0-9-1.
enum IncomingFrame: Sendable, Equatable {
    case method(IncomingMethod, channel: UInt16)
    case header(ContentHeader, channel: UInt16)
    case body([UInt8], channel: UInt16)
    case heartbeat
}
