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
    /// Looks that wait for their turn, by what they ask for: whoever asks the same joins one that has not begun, so that
    /// hundreds who ask at once cost the broker one look, and leave room at the gate for others.
    private var waiting: [[String]: Task<Result<QueueInspector.Statistics, RabbitError>, Never>] = [:]

    init(configuration: RabbitConfiguration, logger: Logger) {
        link = ConnectionLink(configuration: configuration, role: "inspector", logger: logger)
    }

    deinit { executor.shutDown() }

    func statistics(of queues: [String]) async throws(RabbitError) -> QueueInspector.Statistics {
        guard queues.count <= Self.maximumQueues else {
            throw .invalid(field: "queues", reason: "more than \(Self.maximumQueues)")
        }
        guard queues.allSatisfy({ (1...255).contains($0.utf8.count) }) else {
            throw .invalid(field: "queue", reason: "must have 1 to 255 bytes")
        }
        if let shared = waiting[queues] { return try await shared.value.get() }
        let own = Task { await answer(to: queues) }
        waiting[queues] = own
        return try await own.value.get()
    }

    private func answer(to queues: [String]) async -> Result<QueueInspector.Statistics, RabbitError> {
        do throws(RabbitError) { return .success(try await look(at: queues)) } catch { return .failure(error) }
    }

    private func look(at queues: [String]) async throws(RabbitError) -> QueueInspector.Statistics {
        do throws(RabbitError) {
            try await gate.enter()
        } catch {
            waiting[queues] = nil
            throw error
        }
        defer { gate.leave() }
        waiting[queues] = nil
        var result: QueueInspector.Statistics = [:]
        for queue in queues {
            do throws(RabbitError) {
                guard
                    case .queueDeclareOk(let messages, let consumers) = try await usable.call(
                        .queueDeclarePassive(name: queue))
                else { throw .protocolViolation("no queue.declare-ok") }
                result[queue] = (messages, consumers)
            } catch .server(let code, let text) where code == 404 || code == 405 {
                try await usable.openChannel()
                // A queue that exists and cannot be asked is not one that is missing.
                let error = RabbitError.server(code: code, text: text)
                if error.meaning == .outage { throw error }
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
