import Logging
import ServiceLifecycle

/// One connection that listens to channels and subscribes again after every reconnect.
public final class RedisSubscriber: Service, Sendable {
    public enum Event: Sendable, Equatable {
        case message(channel: String, payload: [UInt8])
        /// All channels are subscribed. After the first time it also says: what was published meanwhile is lost.
        case connected
        case disconnected
    }

    /// - Parameter handler: called on the connection's thread, in the order of arrival; it must be quick and never block.
    public init(
        configuration: RedisConfiguration, channels: [String], logger: Logger,
        handler: @escaping @Sendable (Event) -> Void
    ) {}

    public func run() async throws {}
}
