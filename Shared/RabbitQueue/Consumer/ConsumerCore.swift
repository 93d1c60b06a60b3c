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
    private var pace: PrefetchPace
    private var isAdjusting = false
    /// Consuming and cancelling take several calls each.
    private let gate = CallGate(maximumWaiting: 64)

    init(
        configuration: RabbitConfiguration, queues: [QueueDeclaration], alsoDeclares: Topology, prefetch: Int,
        maximumBytes: Int, logger: Logger
    ) {
        link = ConnectionLink(configuration: configuration, role: "consumer", logger: logger)
        self.queues = queues
        self.alsoDeclares = alsoDeclares
        self.prefetch = min(max(prefetch, 1), Int(UInt16.max))
        pace = PrefetchPace(
            singles: queues.map { $0.arguments["x-single-active-consumer"] == .flag(true) }, maximum: self.prefetch,
            maximumBytes: maximumBytes)
    }

    deinit { executor.shutDown() }

    // MARK: Settling

    func settle(_ delivery: Delivery, with method: OutgoingMethod) throws(RabbitError) {
        guard let connection, delivery.generation == generation, delivery.isLive else { throw .connectionLost }
        guard unacknowledged.remove(delivery.tag) else { throw .alreadySettled }
        pace.settled(of: delivery.consumer, bytes: delivery.bytes)
        try connection.send(method)
        adjust()
    }

    func acknowledge(_ batch: [Delivery]) -> [Delivery] {
        let alive = batch.filter { $0.isLive && $0.generation == generation }
        do throws(RabbitError) {
            guard let connection else { throw .connectionLost }
            var counted: Set<UInt64> = []
            for delivery in alive where unacknowledged.contains(delivery.tag) && counted.insert(delivery.tag).inserted {
                pace.settled(of: delivery.consumer, bytes: delivery.bytes)
            }
            let acknowledgements = unacknowledged.acknowledge(alive.map(\.tag))
            defer { adjust() }
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
        for delivery in untaken { pace.settled(of: delivery.consumer, bytes: delivery.bytes) }
        // At once, not with the connection's end: another consumer may take them while this one still drains.
        try? connection?.send(untaken.map { .basicReject(deliveryTag: $0.tag, requeue: true) })
        buffer.finish()
    }

    private var isLive: Bool { liveGeneration.load(ordering: .acquiring) != 0 }

    /// Consumes and cancels until the broker is where the pace, or `stopConsuming`, wants it.
    private func reconcile() async {
        // When too many wait, whoever is inside sees what this caller wants.
        guard (try? await gate.enter()) != nil else { return }
        defer { gate.leave() }
        while let connection, isLive, let change = isStopped ? pace.stop() : pace.next() {
            do throws(RabbitError) {
                try await make(change, on: connection)
            } catch {
                // The next connection begins where it should.
                connection.end(error)
            }
        }
    }

    /// After a delivery or an acknowledgement; costs nothing while nothing is to be changed.
    private func adjust() {
        guard !isAdjusting, !isStopped, isLive, pace.isDue else { return }
        isAdjusting = true
        Task {
            await reconcile()
            isAdjusting = false
        }
    }

    private func make(_ change: PrefetchPace.Change, on connection: Connection) async throws(RabbitError) {
        switch change {
        case .open(let consumer, let prefetch):
            // Holds for the consumers that come after it.
            guard case .basicQosOk = try await connection.call(.basicQos(prefetch: UInt16(clamping: prefetch))) else {
                throw .protocolViolation("no basic.qos-ok")
            }
            let answer = try await connection.call(
                .basicConsume(queue: queues[consumer.queue].name, consumerTag: Self.tag(consumer)))
            guard case .basicConsumeOk = answer else { throw .protocolViolation("no basic.consume-ok") }
        case .cancel(let consumer):
            guard case .basicCancelOk = try await connection.call(.basicCancel(consumerTag: Self.tag(consumer))) else {
                throw .protocolViolation("no basic.cancel-ok")
            }
        }
    }

    private static func tag(_ consumer: PrefetchPace.Consumer) -> String { "c\(consumer.queue).\(consumer.number)" }

    private func consumer(_ tag: String) -> PrefetchPace.Consumer? {
        let numbers = tag.dropFirst().split(separator: ".").map { Int($0) }
        guard numbers.count == 2, let queue = numbers[0], let number = numbers[1], queues.indices.contains(queue) else {
            return nil
        }
        return PrefetchPace.Consumer(queue: queue, number: number)
    }

    // MARK: The connection

    func setUp(_ connection: Connection) async throws(RabbitError) {
        let further = Set(queues.map(\.name))
        try await declare(alsoDeclares.queues.filter { !further.contains($0.name) } + queues, on: connection)
        pace.reset()
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
        case .channelClosed(let error):
            // While it is set up, the call that closed it says so.
            if isLive { connection?.end(error) }
        case .confirmed, .refused, .blocked, .ended: break
        }
    }

    private func receive(_ content: ContentAssembler.Content) {
        guard let connection, case .basicDeliver(let consumerTag, let tag, let redelivered) = content.method else {
            return
        }
        do throws(RabbitError) {
            guard let consumer = consumer(consumerTag) else {
                throw .protocolViolation("delivery for consumer \(consumerTag)")
            }
            try unacknowledged.add(tag)
            guard unacknowledged.count <= prefetch * queues.count else {
                throw .protocolViolation("more deliveries than the prefetch")
            }
            let delivery = Delivery(
                body: content.body, header: content.header, redelivered: redelivered,
                queue: queues[consumer.queue].name, tag: tag, generation: generation, consumer: consumer, core: self)
            pace.delivered(to: consumer, bytes: delivery.bytes)
            guard !content.isOversized else {
                link.logger.error(
                    "a delivery is too large: dead-lettered unread",
                    metadata: ["queue": "\(delivery.queue)", "bytes": "\(content.header.bodySize)"])
                _ = unacknowledged.remove(tag)
                pace.settled(of: consumer, bytes: delivery.bytes)
                return try connection.send(.basicReject(deliveryTag: tag, requeue: false))
            }
            buffer.push(delivery)
            adjust()
        } catch {
            connection.end(error)
        }
    }

    func tearDown(_ error: RabbitError) {
        liveGeneration.store(0, ordering: .releasing)
        unacknowledged = UnacknowledgedTags()
        pace.reset()
        _ = buffer.removeUntaken()
    }

    func leave() async {
        await stopConsuming()
        await close()
    }
}
