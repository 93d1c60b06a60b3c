/// One queue and how it must be: declaring is idempotent, and a queue that exists otherwise makes the broker say 406.
///
/// The factories are the kinds of queue this platform knows; the numbers are messages.
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
    public static func work(_ name: String, maximumLength: Int64 = 100_000) -> QueueDeclaration {
        quorum(
            name, maximumLength: maximumLength, deadLetterQueue: Topology.deadLetterQueue,
            further: ["x-delivery-limit": .integer(deliveryLimit)])
    }

    /// The outcomes for one shard: one worker at a time takes them, in order, and no number of redeliveries loses one.
    public static func responses(shard: String, maximumLength: Int64 = 100_000) -> QueueDeclaration {
        quorum(
            Topology.responseQueue(shard: shard), maximumLength: maximumLength, deadLetterQueue: nil,
            further: ["x-single-active-consumer": .flag(true)])
    }

    /// Where the dead go. When it is full, they stay in the queues they died in.
    public static func deadLetters(maximumLength: Int64 = 1_000_000) -> QueueDeclaration {
        quorum(Topology.deadLetterQueue, maximumLength: maximumLength, deadLetterQueue: nil, further: [:])
    }

    /// A rung of the retry ladder: holds a message for a fixed time, then hands it on.
    static func retry(_ name: String, delay: Duration, returningTo queue: String, maximumLength: Int64)
        -> QueueDeclaration
    {
        quorum(
            name, maximumLength: maximumLength, deadLetterQueue: queue,
            further: ["x-message-ttl": .integer(delay.milliseconds)])
    }

    /// An inference node's inbox: gone with the node's connection, so that a publish to a dead node is returned.
    public static func node(incarnation: String, maximumLength: Int64 = 1_024) -> QueueDeclaration {
        QueueDeclaration(
            name: Topology.nodeQueue(incarnation: incarnation), durable: false, exclusive: true,
            arguments: ["x-max-length": .integer(maximumLength), "x-overflow": .string("reject-publish")])
    }

    private static func quorum(
        _ name: String, maximumLength: Int64, deadLetterQueue: String?, further: [String: Argument]
    ) -> QueueDeclaration {
        var arguments: [String: Argument] = [
            "x-queue-type": .string("quorum"), "x-max-length": .integer(maximumLength),
            "x-overflow": .string("reject-publish"),
        ]
        if let deadLetterQueue {
            arguments["x-dead-letter-exchange"] = .string("")
            arguments["x-dead-letter-routing-key"] = .string(deadLetterQueue)
            arguments["x-dead-letter-strategy"] = .string("at-least-once")
        }
        arguments.merge(further) { _, new in new }
        return QueueDeclaration(name: name, durable: true, exclusive: false, arguments: arguments)
    }
}
