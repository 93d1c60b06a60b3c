import ServiceKit

/// How much one queue may hold before it refuses publishes. Messages that are out at consumers do not count: those are
/// bounded by what the consumers ask for.
public struct QueueBounds: Sendable, Equatable {
    public var messages: Int64
    /// Of the bodies.
    public var bytes: Int64

    /// - Parameter bytes: the default of `QUEUE_MAX_MIB`.
    public init(messages: Int64 = 100_000, bytes: Int64 = 1 << 30) {
        self.messages = messages
        self.bytes = bytes
    }

    /// For the queues that messages only pass through, or wait in for seconds.
    var quarter: QueueBounds { QueueBounds(messages: messages, bytes: max(1, bytes / 4)) }

    var arguments: [String: QueueDeclaration.Argument] {
        [
            "x-max-length": .integer(messages), "x-max-length-bytes": .integer(bytes),
            "x-overflow": .string("reject-publish"),
        ]
    }
}

extension Settings {
    /// The bounds of the large queues as the environment says.
    public func queueBounds() throws(SettingsError) -> QueueBounds {
        QueueBounds(bytes: Int64(try self(Settings.queueMaximumSize)) << 20)
    }
}
