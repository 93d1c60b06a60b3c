import Logging
import ServiceLifecycle

/// Reads an orchestrator's inbox on a connection of its own, from the end at its start on, and trims what it has read.
///
/// After a reconnect it goes on where it was; when the stream was lost (Redis was emptied) it starts at its beginning.
public final class InboxReader: Service, Sendable {
    /// - Parameter handler: gets the payloads in order, a batch at a time; the next batch waits for its return.
    public init(
        configuration: RedisConfiguration, orchestrator: String, logger: Logger,
        handler: @escaping @Sendable ([[UInt8]]) -> Void
    ) {}

    public func run() async throws {}
}
