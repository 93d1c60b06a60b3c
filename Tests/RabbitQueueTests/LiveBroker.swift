import Logging
import RabbitQueue
import ServiceLifecycle
import TestServers
import Testing

/// A configuration for a virtual host of the test's own on the shared broker.
func freshBroker() async throws -> RabbitConfiguration {
    try RabbitConfiguration(uri: await TestServers.rabbit().freshVirtualHost().uri)
}

let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Longer than anything here takes on a slow machine; only a failing test waits that long.
let patience = Duration.seconds(60)

/// Runs the services while `body` runs, then cancels them and waits for their end.
func running(_ services: any Service..., body: () async throws -> Void) async throws {
    let tasks = services.map { service in Task { try await service.run() } }
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
    for task in tasks { task.cancel() }
    for task in tasks { try await task.value }
    try outcome.get()
}

/// Asks until the condition holds.
func eventually(
    _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + patience
    while true {
        // A condition that cannot be asked for now does not hold.
        if (try? await condition()) == true { return }
        guard ContinuousClock.now < deadline else {
            Issue.record(what, sourceLocation: sourceLocation)
            throw CancellationError()
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Takes deliveries one after the other, each within the test's patience.
actor Taker {
    private let deliveries: AsyncStream<Delivery>
    init(_ consumer: RabbitConsumer) { deliveries = consumer.deliveries }

    func next() async throws -> Delivery {
        let deliveries = deliveries
        return try await withThrowingTaskGroup(of: Delivery?.self) { group in
            group.addTask {
                for await delivery in deliveries { return delivery }
                return nil
            }
            group.addTask {
                try await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            guard case .some(.some(let delivery)) = try await group.next() else { throw NothingDelivered() }
            return delivery
        }
    }

    func next(_ count: Int) async throws -> [Delivery] {
        var taken: [Delivery] = []
        for _ in 0..<count { taken.append(try await next()) }
        return taken
    }

    struct NothingDelivered: Error {}
}

extension RabbitPublisher {
    convenience init(_ configuration: RabbitConfiguration, _ queues: QueueDeclaration...) {
        self.init(configuration: configuration, topology: Topology(queues: queues), logger: silent)
    }

    /// Publishes bodies "1", "2", … under the same ids.
    func publish(_ numbers: ClosedRange<Int>, to queue: String) async throws {
        for number in numbers {
            try await publishPatiently(
                OutgoingMessage(queue: queue, body: Array("\(number)".utf8), id: "\(number)"))
        }
    }

    /// A quorum queue refuses the first publish while its leader is slow to answer on a busy machine.
    func publishPatiently(_ message: OutgoingMessage) async throws {
        let deadline = ContinuousClock.now + patience
        while true {
            do {
                return try await publish(message)
            } catch RabbitError.rejected where ContinuousClock.now < deadline {
                continue
            }
        }
    }
}

extension RabbitConsumer {
    convenience init(_ configuration: RabbitConfiguration, _ queues: QueueDeclaration..., prefetch: Int) {
        self.init(configuration: configuration, queues: queues, prefetch: prefetch, logger: silent)
    }
}

extension QueueInspector {
    func count(_ queue: String) async throws -> Int? { try await statistics(of: [queue])[queue]?.messages }
}

func connected(_ publisher: RabbitPublisher) async throws {
    try #require(await publisher.waitUntilConnected(timeout: patience))
}
func connected(_ consumer: RabbitConsumer) async throws {
    try #require(await consumer.waitUntilConnected(timeout: patience))
}
func connected(_ inspector: QueueInspector) async throws {
    try #require(await inspector.waitUntilConnected(timeout: patience))
}

/// The shared broker's address, to be changed into a wrong one.
struct TestBrokerURI {
    var user: String
    var password: String
    var host: String
    var port: Int
    var text: String { "amqp://\(user):\(password)@\(host):\(port)" }

    static func current() async throws -> TestBrokerURI {
        let endpoint = try await TestServers.rabbit()
        return TestBrokerURI(
            user: endpoint.user, password: endpoint.password, host: endpoint.host, port: endpoint.port)
    }
}
