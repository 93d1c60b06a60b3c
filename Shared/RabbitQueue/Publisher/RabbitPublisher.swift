import Logging
import ServiceLifecycle

/// Publishes with the broker's confirm: what `publish` returns from is stored. Has its own connection and thread.
public final class RabbitPublisher: Service, Sendable {
    let core: PublisherCore

    /// - Parameter topology: declared on every connect, before the first publish.
    public init(configuration: RabbitConfiguration, topology: Topology, logger: Logger) {
        core = PublisherCore(configuration: configuration, topology: topology, logger: logger)
    }

    /// Keeps the connection until cancelled or gracefully shut down; then the publishes in flight get
    /// `confirmTimeout` to be confirmed.
    public func run() async throws {
        let core = core
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                await core.keepConnected()
            } onGracefulShutdown: {
                Task { await core.drain() }
            }
        } onCancel: {
            Task { await core.close() }
        }
    }

    /// Whether a publish would be sent now.
    public var isConnected: Bool { core.link.isConnected }

    /// Waits for the connection, at most `timeout`; tells whether it is there.
    public func waitUntilConnected(timeout: Duration) async -> Bool {
        await core.link.waitUntilConnected(timeout: timeout)
    }

    /// Returns only after the broker's confirm.
    ///
    /// - Throws: `.unroutable` (returned), `.rejected` (queue full), `.unavailable`, `.overloaded` and `.invalid`:
    ///   the broker does not have it. `.timedOut`, `.connectionLost` and `.cancelled`: it may; retry under the same id.
    public func publish(_ message: OutgoingMessage) async throws(RabbitError) {
        try message.validate(maximumBodyBytes: core.link.configuration.maximumBodyBytes)
        try await core.publish(message)
    }
}
