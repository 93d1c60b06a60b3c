/// One queue and how it must be: declaring is idempotent, and a queue that exists otherwise makes the broker say 406.
///
/// The factories are the kinds of queue this platform knows. Each is bounded in messages and in bytes of their bodies.
public struct QueueDeclaration: Sendable, Equatable {
    public enum Argument: Sendable, Equatable {
        case string(String)
        case integer(Int64)
        case flag(Bool)
    }

    public let name: String
    public let durable: Bool
    /// Belongs to the connection that declares it and vanishes with that.
    public let exclusive: Bool
    public let arguments: [String: Argument]

    /// A backstop only: every unclean return of a delivery counts, a killed consumer's whole prefetch included, so
    /// poison is told by the orchestrator's own count, far below this.
    public static let deliveryLimit: Int64 = 50

    /// A queue of turns or jobs: survives any process, dead-letters to `dead_letter_queue` without losing a message on
    /// the way (at-least-once needs reject-publish), and refuses publishes beyond its bound instead of dropping any.
    public static func work(_ name: String, within bounds: QueueBounds = QueueBounds()) -> QueueDeclaration {
        quorum(
            name, bounds, deadLetterQueue: Topology.deadLetterQueue,
            further: ["x-delivery-limit": .integer(deliveryLimit)])
    }

    /// The outcomes for one shard: one worker at a time takes them, in order, and no number of redeliveries loses one.
    public static func responses(shard: String, within bounds: QueueBounds = QueueBounds()) -> QueueDeclaration {
        quorum(
            Topology.responseQueue(shard: shard), bounds, deadLetterQueue: nil,
            further: ["x-single-active-consumer": .flag(true)])
    }

    /// Where the dead go: ten times as many as a turn queue holds, for nobody may look for days. When it is full, they
    /// stay in the queues they died in.
    public static func deadLetters(within bounds: QueueBounds = QueueBounds()) -> QueueDeclaration {
        quorum(
            Topology.deadLetterQueue, QueueBounds(messages: bounds.messages * 10, bytes: bounds.bytes),
            deadLetterQueue: nil, further: [:])
    }

    /// A rung of the retry ladder: holds a message for a fixed time, then hands it on.
    static func retry(_ name: String, delay: Duration, returningTo queue: String, within bounds: QueueBounds)
        -> QueueDeclaration
    {
        quorum(
            name, bounds, deadLetterQueue: queue, further: ["x-message-ttl": .integer(delay.milliseconds)])
    }

    /// An inference node's inbox: gone with the node's connection, so that a publish to a dead node is returned.
    public static func node(
        incarnation: String, within bounds: QueueBounds = QueueBounds(messages: 1_024, bytes: 64 << 20)
    ) -> QueueDeclaration {
        QueueDeclaration(
            name: Topology.nodeQueue(incarnation: incarnation), durable: false, exclusive: true,
            arguments: bounds.arguments)
    }

    private static func quorum(
        _ name: String, _ bounds: QueueBounds, deadLetterQueue: String?, further: [String: Argument]
    ) -> QueueDeclaration {
        var arguments = bounds.arguments
        arguments["x-queue-type"] = .string("quorum")
        if let deadLetterQueue {
            arguments["x-dead-letter-exchange"] = .string("")
            arguments["x-dead-letter-routing-key"] = .string(deadLetterQueue)
            arguments["x-dead-letter-strategy"] = .string("at-least-once")
        }
        arguments.merge(further) { _, new in new }
        return QueueDeclaration(name: name, durable: true, exclusive: false, arguments: arguments)
    }
}

extension QueueDeclaration {
    /// The queue as this broker is to be told of it.
    ///
    /// From version 4 on a quorum queue without a delivery limit has one of 20 returns, after which it drops the message; a
    /// limit of -1 is none. Earlier versions have none unless told, and refuse a negative number.
    func formed(for broker: BrokerVersion) -> QueueDeclaration {
        guard arguments["x-queue-type"] == .string("quorum"), arguments["x-delivery-limit"] == nil, broker.major >= 4
        else { return self }
        var arguments = arguments
        arguments["x-delivery-limit"] = .integer(-1)
        return QueueDeclaration(name: name, durable: durable, exclusive: exclusive, arguments: arguments)
    }

    /// How much it may hold, as far as it says so.
    var bounds: QueueBounds {
        func number(_ name: String) -> Int64 { if case .integer(let number) = arguments[name] { number } else { .max } }
        return QueueBounds(messages: number("x-max-length"), bytes: number("x-max-length-bytes"))
    }
}
