import Logging
import ServiceKit

/// The inspector's state, on the inspector's thread.
actor InspectorCore: ConnectionOwner {
    nonisolated let executor = SocketExecutor(name: "rabbit-inspect")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated let link: ConnectionLink
    var connection: Connection?
    /// A missing queue costs the channel and every call that waits on it: so one question at a time.
    private let gate = CallGate(maximumWaiting: 64)
    private static let maximumQueues = 1024

    init(configuration: RabbitConfiguration, logger: Logger) {
        link = ConnectionLink(configuration: configuration, role: "inspector", logger: logger)
    }

    deinit { executor.shutDown() }

    func statistics(of queues: [String]) async throws(RabbitError) -> [String: (messages: Int, consumers: Int)] {
        guard queues.count <= Self.maximumQueues else {
            throw .invalid(field: "queues", reason: "more than \(Self.maximumQueues)")
        }
        guard queues.allSatisfy({ (1...255).contains($0.utf8.count) }) else {
            throw .invalid(field: "queue", reason: "must have 1 to 255 bytes")
        }
        try await gate.enter()
        defer { gate.leave() }
        var result: [String: (messages: Int, consumers: Int)] = [:]
        for queue in queues {
            do throws(RabbitError) {
                guard
                    case .queueDeclareOk(let messages, let consumers) = try await usable.call(
                        .queueDeclarePassive(name: queue))
                else { throw .protocolViolation("no queue.declare-ok") }
                result[queue] = (messages, consumers)
            } catch .server(code: 404, _), .server(code: 405, _) {
                try await usable.openChannel()
            }
        }
        return result
    }

    func ping() async throws(RabbitError) {
        try await gate.enter()
        defer { gate.leave() }
        // Sets what is never used here: the cheapest method that the channel's process itself answers.
        guard case .basicQosOk = try await usable.call(.basicQos(prefetch: 1)) else {
            throw .protocolViolation("no basic.qos-ok")
        }
    }

    private var usable: Connection {
        get throws(RabbitError) {
            guard let connection, !link.isClosing else { throw .unavailable }
            return connection
        }
    }

    // MARK: The connection

    func setUp(_ connection: Connection) async throws(RabbitError) {}

    func receive(_ event: Connection.Event) {
        // 404 and 405 are answers here; after anything else the channel is not reopened, so a new connection is due.
        if case .channelClosed(let error) = event {
            switch error {
            case .server(code: 404, _), .server(code: 405, _): break
            default: connection?.end(error)
            }
        }
    }

    func tearDown(_ error: RabbitError) {}
}
