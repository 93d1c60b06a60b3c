import Logging
import ServiceKit
import Synchronization

/// The consumer's state, on the consumer's thread.
actor ConsumerCore: ConnectionOwner {
    nonisolated let executor = SocketExecutor(name: "rabbit-consume")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated let link: ConnectionLink
    nonisolated let buffer = DeliveryBuffer()
    /// The channel whose deliveries may be acknowledged; 0 while there is none.
    nonisolated let liveGeneration = Atomic<UInt64>(0)
    var connection: Connection?
    private let queues: [QueueDeclaration]
    private let alsoDeclares: Topology
    private let prefetch: Int
    private var generation: UInt64 = 0
    private(set) var unacknowledged = UnacknowledgedTags()
    private var isStopped = false
    private var isConsuming = false
    /// Consuming and cancelling take several calls each.
    private let gate = CallGate(maximumWaiting: 64)

    init(
        configuration: RabbitConfiguration, queues: [QueueDeclaration], alsoDeclares: Topology, prefetch: Int,
        logger: Logger
    ) {
        link = ConnectionLink(configuration: configuration, role: "consumer", logger: logger)
        self.queues = queues
        self.alsoDeclares = alsoDeclares
        self.prefetch = min(max(prefetch, 1), Int(UInt16.max))
    }

    deinit { executor.shutDown() }

    // MARK: Settling

    func settle(_ delivery: Delivery, with method: OutgoingMethod) throws(RabbitError) {
        guard let connection, delivery.generation == generation, delivery.isLive else { throw .connectionLost }
        guard unacknowledged.remove(delivery.tag) else { throw .alreadySettled }
        try connection.send(method)
    }

    func acknowledge(_ batch: [Delivery]) -> [Delivery] {
        let alive = batch.filter { $0.isLive && $0.generation == generation }
        do throws(RabbitError) {
            guard let connection else { throw .connectionLost }
            let acknowledgements = unacknowledged.acknowledge(alive.map(\.tag))
            try connection.send(acknowledgements.map { .basicAck(deliveryTag: $0.tag, multiple: $0.multiple) })
        } catch {
            return batch
        }
        return batch.filter { delivery in delivery.generation != generation || !delivery.isLive }
    }

    // MARK: Consuming

    func pause() async {
        link.pause()
        await connection?.close()
    }

    func stopConsuming() async {
        isStopped = true
        await reconcile()
        let untaken = buffer.removeUntaken().filter { $0.isLive && unacknowledged.remove($0.tag) }
        // At once, not with the connection's end: another consumer may take them while this one still drains.
        try? connection?.send(untaken.map { .basicReject(deliveryTag: $0.tag, requeue: true) })
        buffer.finish()
    }

    private var isLive: Bool { liveGeneration.load(ordering: .acquiring) != 0 }

    /// Consumes or cancels until the broker is where `stopConsuming` wants it.
    private func reconcile() async {
        // When too many wait, whoever is inside sees what this caller wants.
        guard (try? await gate.enter()) != nil else { return }
        defer { gate.leave() }
        while let connection, isLive, isConsuming == isStopped {
            do throws(RabbitError) {
                try await (isStopped ? cancelConsumers(on: connection) : consume(on: connection))
            } catch {
                // The next connection begins where it should.
                connection.end(error)
            }
        }
    }

    private func consume(on connection: Connection) async throws(RabbitError) {
        isConsuming = true
        for (index, queue) in queues.enumerated() {
            let answer = try await connection.call(.basicConsume(queue: queue.name, consumerTag: Self.tag(index)))
            guard case .basicConsumeOk = answer else { throw .protocolViolation("no basic.consume-ok") }
        }
    }

    private func cancelConsumers(on connection: Connection) async throws(RabbitError) {
        for index in queues.indices {
            guard case .basicCancelOk = try await connection.call(.basicCancel(consumerTag: Self.tag(index))) else {
                throw .protocolViolation("no basic.cancel-ok")
            }
        }
        isConsuming = false
    }

    private static func tag(_ index: Int) -> String { "c\(index)" }

    // MARK: The connection

    func setUp(_ connection: Connection) async throws(RabbitError) {
        for queue in alsoDeclares.queues + queues { try await declare(queue, on: connection) }
        guard case .basicQosOk = try await connection.call(.basicQos(prefetch: UInt16(prefetch))) else {
            throw .protocolViolation("no basic.qos-ok")
        }
        generation += 1
        liveGeneration.store(generation, ordering: .releasing)
        await reconcile()
        if let failure = connection.failure { throw failure }
    }

    func receive(_ event: Connection.Event) {
        switch event {
        case .content(let content): receive(content)
        case .consumerCancelled(let tag):
            // The queue was deleted. A new connection declares it anew.
            connection?.end(.server(code: 404, text: "the broker cancelled consumer \(tag)"))
        case .channelClosed(let error): connection?.end(error)
        case .confirmed, .refused, .blocked, .ended: break
        }
    }

    private func receive(_ content: ContentAssembler.Content) {
        guard let connection, case .basicDeliver(let consumer, let tag, let redelivered) = content.method else {
            return
        }
        do throws(RabbitError) {
            guard let index = Int(consumer.dropFirst()), queues.indices.contains(index) else {
                throw .protocolViolation("delivery for consumer \(consumer)")
            }
            try unacknowledged.add(tag)
            guard unacknowledged.count <= prefetch * queues.count else {
                throw .protocolViolation("more deliveries than the prefetch")
            }
            let delivery = Delivery(
                body: content.body, id: content.header.messageID, headers: content.header.headers,
                redelivered: redelivered,
                deliveryCount: max(0, Int(content.header.headers["x-delivery-count"] ?? "") ?? 0),
                death: Death(saidIn: content.header.headers) ?? content.header.death,
                queue: queues[index].name, tag: tag, generation: generation, core: self)
            guard !content.isOversized else {
                link.logger.error(
                    "a delivery is too large: dead-lettered unread",
                    metadata: ["queue": "\(delivery.queue)", "bytes": "\(content.header.bodySize)"])
                _ = unacknowledged.remove(tag)
                return try connection.send(.basicReject(deliveryTag: tag, requeue: false))
            }
            buffer.push(delivery)
        } catch {
            connection.end(error)
        }
    }

    func tearDown(_ error: RabbitError) {
        liveGeneration.store(0, ordering: .releasing)
        unacknowledged = UnacknowledgedTags()
        isConsuming = false
        _ = buffer.removeUntaken()
    }

    func leave() async {
        await stopConsuming()
        await close()
    }
}
