import ServiceLifecycle

/// What publisher, consumer and inspector show of themselves alike: a service that keeps one connection of its own.
public protocol BrokerClient: Service {
    var link: ConnectionLink { get }
}

extension BrokerClient {
    /// Whether a call would be sent now.
    public var isConnected: Bool { link.isConnected }

    /// Why there is no connection; nil while connected and before the first attempt has failed.
    public var lastFailure: RabbitError? { link.lastFailure }

    /// Waits for the connection, at most `timeout`; tells whether it is there.
    public func waitUntilConnected(timeout: Duration) async -> Bool {
        await link.waitUntilConnected(timeout: timeout)
    }
}
