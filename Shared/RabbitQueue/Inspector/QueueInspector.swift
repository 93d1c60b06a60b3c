import Logging

/// Asks the broker how full its queues are. Has its own connection and thread.
public final class QueueInspector: BrokerClient, Sendable {
    /// By queue.
    public typealias Statistics = [String: (messages: Int, consumers: Int)]

    let core: InspectorCore
    public var link: ConnectionLink { core.link }

    public init(configuration: RabbitConfiguration, logger: Logger) {
        core = InspectorCore(configuration: configuration, logger: logger)
    }

    /// Keeps the connection until cancelled or gracefully shut down.
    public func run() async throws {
        await core.run { await $0.close() }
    }

    /// The ready messages (not those out at consumers) and the consumers of each queue. A queue that does not exist,
    /// or is exclusive to another connection, is missing from the answer. Who asks for the same at the same time shares a
    /// look, which has not begun when he asks.
    public func statistics(of queues: [String]) async throws(RabbitError) -> Statistics {
        try await core.statistics(of: queues)
    }

    /// A round trip to the broker over the channel.
    public func ping() async throws(RabbitError) { try await core.ping() }
}
