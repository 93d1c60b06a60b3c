import Logging
import ServiceKit
import ServiceLifecycle
import Synchronization

/// One connection that listens to channels and subscribes again after every reconnect.
public final class RedisSubscriber: Service, Sendable {
    public enum Event: Sendable, Equatable {
        case message(channel: String, payload: [UInt8])
        /// All channels are subscribed. After the first time it also says: what was published meanwhile is lost.
        case connected
        case disconnected
    }

    private let channels: [String]
    private let timeout: Duration
    private let handler: @Sendable (Event) -> Void
    private let executor = SocketExecutor(name: "redis-subscribe")
    private let subscribed = Atomic<Int>(0)
    private let link = Mutex<RedisLink?>(nil)
    private let configuration: RedisConfiguration
    private let logger: Logger

    /// - Parameter handler: called on the connection's thread, in the order of arrival; it must be quick and never block.
    public init(
        configuration: RedisConfiguration, channels: [String], logger: Logger,
        handler: @escaping @Sendable (Event) -> Void
    ) {
        self.configuration = configuration
        self.channels = channels
        self.logger = logger
        self.handler = handler
        timeout = configuration.commandTimeout
    }

    deinit { executor.shutDown() }

    public func run() async throws {
        let link = RedisLink(
            configuration: configuration, executor: executor, isSubscriber: true, logger: logger
        ) { [weak self] event in self?.take(event) }
        self.link.withLock { $0 = link }
        await link.start()
        try? await gracefulShutdown()
        await link.stop()
    }

    private func take(_ event: RedisLink.Event) {
        switch event {
        case .ready: subscribe()
        case .lost: if subscribed.exchange(0, ordering: .relaxed) == channels.count { handler(.disconnected) }
        case .push(let value): take(value)
        case .refused: break
        }
    }

    private func subscribe() {
        guard !channels.isEmpty, let link = link.withLock({ $0 }) else { return handler(.connected) }
        var bytes: [UInt8] = []
        CommandEncoder.append("SUBSCRIBE", channels.map(RedisArgument.text), to: &bytes)
        link.queue.submit(bytes, replies: 0, timeout: timeout) { _ in }
    }

    private func take(_ push: RedisValue) {
        guard case .array(let parts) = push, parts.count == 3, let channel = parts[1].text else { return }
        switch parts[0].text {
        case "message":
            if let payload = parts[2].data { handler(.message(channel: channel, payload: payload)) }
        case "subscribe":
            if subscribed.add(1, ordering: .relaxed).newValue == channels.count { handler(.connected) }
        default: break
        }
    }
}
