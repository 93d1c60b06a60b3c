import Logging
import ServiceLifecycle

/// Asks the broker how full its queues are. Has its own connection and thread.
public final class QueueInspector: Service, Sendable {
    let core: InspectorCore

    public init(configuration: RabbitConfiguration, logger: Logger) {
        core = InspectorCore(configuration: configuration, logger: logger)
    }

    /// Keeps the connection until cancelled or gracefully shut down.
    public func run() async throws {
        let core = core
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                await core.keepConnected()
            } onGracefulShutdown: {
                Task { await core.close() }
            }
        } onCancel: {
            Task { await core.close() }
        }
    }

    /// Whether a question would be sent now.
    public var isConnected: Bool { core.link.isConnected }

    /// Waits for the connection, at most `timeout`; tells whether it is there.
    public func waitUntilConnected(timeout: Duration) async -> Bool {
        await core.link.waitUntilConnected(timeout: timeout)
    }

    /// The ready messages (not those out at consumers) and the consumers of each queue. A queue that does not exist,
    /// or is exclusive to another connection, is missing from the answer.
    public func statistics(of queues: [String]) async throws(RabbitError) -> [String: (messages: Int, consumers: Int)] {
        try await core.statistics(of: queues)
    }

    /// A round trip to the broker over the channel.
    public func ping() async throws(RabbitError) { try await core.ping() }
}
