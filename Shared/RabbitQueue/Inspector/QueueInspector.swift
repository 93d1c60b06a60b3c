import Logging
import ServiceLifecycle

/// Asks the broker how full its queues are. Has its own connection and thread.
public final class QueueInspector: Service, Sendable {
    public init(configuration: RabbitConfiguration, logger: Logger) {
    }

    public func run() async throws {
    }

    public var isConnected: Bool { false }

    public func waitUntilConnected(timeout: Duration) async -> Bool { false }

    /// The ready messages (not those out at consumers) and the consumers of each queue. A queue that does not exist,
    /// or is exclusive to another connection, is missing from the answer.
    public func statistics(of queues: [String]) async throws(RabbitError) -> [String: (messages: Int, consumers: Int)] {
        throw .unavailable
    }

    /// A round trip to the broker over the channel.
    public func ping() async throws(RabbitError) { throw .unavailable }
}
