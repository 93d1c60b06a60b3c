import Logging
import ServiceKit

/// Gives queues that exist with earlier bounds the present ones. The broker never changes a queue's arguments, so what it
/// holds is moved aside, the queue is deleted and declared anew, and what it held is moved back.
///
/// Nothing is lost, whoever dies when: a message is acknowledged when its copy is confirmed; a second process finishes what
/// one that died has begun. What is copied twice has one id. One process does it at a time: it holds an exclusive queue that
/// the broker deletes with its connection.
///
/// A queue that somebody consumes stays as it is: deleting it would take his unacknowledged messages from him. So processes
/// of an earlier version and this one work side by side, and the bounds come when all have been stopped. Quorum queues know
/// neither if-unused nor if-empty, and a slow queue says that it is empty: so emptiness counts only together with this
/// consumer, which the same answer must name. What is published between the last look and the deletion is delivered here
/// before the broker ends the consumer, and moved too.
actor QueueUpgrade {
    enum Step: Sendable, CaseIterable { case locked, moved, emptied, deleted, declared }

    /// What is on its way, with the queue it belongs to in a header. Its form must stay the same for ever. No bound: it
    /// holds what one queue held. Earlier and later brokers understand this limit of returns alike.
    static let movingQueue = QueueDeclaration(
        name: "upgrade.moving", durable: true, exclusive: false,
        arguments: ["x-queue-type": .string("quorum"), "x-delivery-limit": .integer(1_000_000_000)])
    private static let lock = QueueDeclaration(name: "upgrade.lock", durable: false, exclusive: true, arguments: [:])
    private static let queueHeader = "upgrade-queue"
    private static let expirationHeader = "upgrade-expiration"
    private static let consumerTag = "upgrade"
    /// Messages that are on their way at a time.
    private static let prefetch: UInt16 = 32
    /// RabbitMQ's own bound: what is larger than ours is moved all the same.
    private static let maximumBodyBytes = 128 << 20
    private static let pollInterval = Duration.milliseconds(20)
    /// How many looks in a row must find a queue empty. Between them the broker hands on what has died in it.
    private static let looks = 3
    private static let patience = 100
    /// How many looks a consumer must outlast: that of an upgrade whose process has just died is counted for a moment longer
    /// than its lock is held.
    private static let looksAtAConsumer = 50

    private struct Passenger {
        let tag: UInt64
        let message: OutgoingMessage
        let refusals: Int
    }

    nonisolated let executor = SocketExecutor(name: "rabbit-upgrade")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private let queues: [QueueDeclaration]
    private let configuration: RabbitConfiguration
    private let logger: Logger
    private let isWanted: @Sendable () -> Bool
    private let onStep: @Sendable (Step) throws(RabbitError) -> Void

    private var connection: Connection?
    private var window = PublishWindow<Passenger>()
    private var route: (ContentAssembler.Content) -> OutgoingMessage? = { _ in nil }
    private var moved = (messages: Int64(0), bytes: Int64(0))
    /// Why something cannot be moved.
    private var refusal: RabbitError?
    /// Tags of a deleted queue are not to be acknowledged.
    private var acknowledges = true
    private var isConsumerGone = false

    /// - Parameters:
    ///   - queues: those that exist otherwise; in the order in which they are declared.
    ///   - isWanted: whether whoever asked still waits.
    ///   - onStep: for tests, which break it off there.
    init(
        _ queues: [QueueDeclaration], configuration: RabbitConfiguration, logger: Logger,
        isWanted: @escaping @Sendable () -> Bool,
        onStep: @escaping @Sendable (Step) throws(RabbitError) -> Void = { _ in }
    ) {
        self.queues = queues
        self.configuration = configuration
        self.logger = logger
        self.isWanted = isWanted
        self.onStep = onStep
    }

    deinit { executor.shutDown() }

    /// Waits for its turn, then upgrades what still is to be, and brings back what a process that died had moved aside.
    func run() async throws(RabbitError) {
        var configuration = configuration
        configuration.maximumBodyBytes = Self.maximumBodyBytes
        let connection = try await Connection.open(configuration, role: "upgrade", executor: executor, logger: logger) {
            [weak self] event in self?.assumeIsolated { $0.receive(event) }
        }
        self.connection = connection
        do throws(RabbitError) {
            try await takeLock(connection)
            try await beginAnew(connection)
            try onStep(.locked)
            // Messages die from one queue into another one before it: what receives stays until what sends is done.
            for queue in queues.reversed() { try await upgrade(queue, connection) }
            try await bringBack(connection)
        } catch {
            connection.end(error)
            throw error
        }
        await connection.close()
    }

    private func takeLock(_ connection: Connection) async throws(RabbitError) {
        while true {
            do throws(RabbitError) {
                _ = try await connection.declare(Self.lock)
                return
            } catch .server(code: 405, _) {
                try await connection.openChannel()
            }
            try await pause(.milliseconds(250))
        }
    }

    /// The channel, after the broker has closed it.
    private func beginAnew(_ connection: Connection) async throws(RabbitError) {
        window = PublishWindow()
        guard case .confirmSelectOk = try await connection.call(.confirmSelect),
            case .basicQosOk = try await connection.call(.basicQos(prefetch: Self.prefetch))
        else { throw .protocolViolation("no confirm.select-ok or basic.qos-ok") }
    }

    // MARK: One queue

    private func upgrade(_ queue: QueueDeclaration, _ connection: Connection) async throws(RabbitError) {
        do throws(RabbitError) {
            // Whoever had the lock before may have done it.
            _ = try await connection.declare(queue)
            return
        } catch {
            guard error.isEarlierBound else { throw error }
            try await connection.openChannel()
            try await beginAnew(connection)
        }
        guard try await isUnused(queue.name, connection) else { return leave(queue, "it is consumed") }
        logger.notice("a queue is given its present bounds", metadata: ["queue": "\(queue.name)"])
        let isAside = try await move(from: queue.name, connection, within: queue.bounds) { content in
            Self.aside(content, from: queue.name)
        }
        guard isAside else {
            try await stopConsuming(connection)
            try await bringBack(connection)
            return leave(queue, "it is consumed, or holds more than fits its present bounds")
        }
        try onStep(.emptied)
        try await delete(queue.name, connection)
        try onStep(.deleted)
        do throws(RabbitError) {
            _ = try await connection.declare(queue)
        } catch {
            guard error.isEarlierBound else { throw error }
            try await connection.openChannel()
            try await beginAnew(connection)
            try await bringBack(connection)
            return leave(queue, "a process of an earlier version has declared it")
        }
        try onStep(.declared)
        logger.notice(
            "a queue has its present bounds",
            metadata: ["queue": "\(queue.name)", "moved": "\(moved.messages)", "bytes": "\(moved.bytes)"])
        try await bringBack(connection)
    }

    private func leave(_ queue: QueueDeclaration, _ reason: String) {
        logger.warning(
            "a queue keeps its earlier bounds until all processes have been stopped once",
            metadata: ["queue": "\(queue.name)", "reason": "\(reason)"])
    }

    /// Asked before this consumes: of a queue with a single active consumer only the active one is counted.
    private func isUnused(_ queue: String, _ connection: Connection) async throws(RabbitError) -> Bool {
        var (free, taken) = (0, 0)
        while free < Self.looks {
            let seen = try await look(queue, connection)
            if seen.consumers > 0 {
                (free, taken) = (0, taken + 1)
                if taken >= Self.looksAtAConsumer { return false }
            } else if seen.messages > 0 {
                // None of both may be said by a queue that is too slow to say.
                return true
            } else {
                free += 1
            }
            try await pause(Self.pollInterval)
        }
        return true
    }

    private func look(
        _ queue: String, _ connection: Connection
    ) async throws(RabbitError) -> (messages: Int, consumers: Int) {
        guard
            case .queueDeclareOk(let messages, let consumers) = try await connection.call(
                .queueDeclarePassive(name: queue))
        else { throw .protocolViolation("no queue.declare-ok") }
        return (messages, consumers)
    }

    /// With the consumer still there: it gets what is published in the last moment.
    private func delete(_ queue: String, _ connection: Connection) async throws(RabbitError) {
        acknowledges = false
        guard case .queueDeleteOk = try await connection.call(.queueDelete(name: queue)) else {
            throw .protocolViolation("no queue.delete-ok")
        }
        let deadline = ContinuousClock.now + configuration.callTimeout
        while !isConsumerGone || window.count > 0 {
            guard .now < deadline else { throw .timedOut }
            try await pause(.milliseconds(5))
        }
        // What was delivered of the deleted queue is owed no answer: a new channel knows nothing of it.
        try await connection.reopenChannel()
        try await beginAnew(connection)
        acknowledges = true
    }

    // MARK: Moving

    /// Moves everything that the moving queue holds to where it belongs, also what another process had left there.
    private func bringBack(_ connection: Connection) async throws(RabbitError) {
        _ = try await connection.declare(Self.movingQueue)
        _ = try await move(from: Self.movingQueue.name, connection, within: nil, Self.back)
        try await stopConsuming(connection)
    }

    /// Consumes `source` until it is empty and everything is confirmed where it went. The consumer stays.
    /// - Returns: false when another one consumes as well, or more came than four fifths of `bounds`.
    private func move(
        from source: String, _ connection: Connection, within bounds: QueueBounds?,
        _ route: @escaping (ContentAssembler.Content) -> OutgoingMessage?
    ) async throws(RabbitError) -> Bool {
        self.route = route
        (moved, refusal, isConsumerGone) = ((0, 0), nil, false)
        guard
            case .basicConsumeOk = try await connection.call(
                .basicConsume(queue: source, consumerTag: Self.consumerTag))
        else { throw .protocolViolation("no basic.consume-ok") }
        var (looks, emptyLooks) = (0, 0)
        // Nobody else publishes to the moving queue. A queue that is published to all the time is never seen at rest: after a while the one look must do.
        while emptyLooks < (bounds != nil && looks < Self.patience ? Self.looks : 1) {
            try await pause(Self.pollInterval)
            guard !isConsumerGone else { throw .server(code: 404, text: "queue \(source) is gone") }
            if let bounds, moved.messages > bounds.messages / 5 * 4 || moved.bytes > bounds.bytes / 5 * 4 {
                return false
            }
            looks += 1
            let isAtRest = window.count == 0 || looks >= Self.patience
            let seen = try await look(source, connection)
            if bounds != nil, seen.consumers > 1 { return false }
            emptyLooks = isAtRest && seen.messages == 0 && seen.consumers > 0 ? emptyLooks + 1 : 0
        }
        return true
    }

    private func stopConsuming(_ connection: Connection) async throws(RabbitError) {
        guard case .basicCancelOk = try await connection.call(.basicCancel(consumerTag: Self.consumerTag)) else {
            throw .protocolViolation("no basic.cancel-ok")
        }
        while window.count > 0 { try await pause(.milliseconds(5)) }
    }

    private static func aside(_ content: ContentAssembler.Content, from queue: String) -> OutgoingMessage {
        var headers = content.header.headers.filter { !$0.key.hasPrefix("x-") }
        // The broker's own note of a death does not come along. Elsewhere it is of an earlier death, and tells nobody anything.
        if queue == Topology.deadLetterQueue, Death(saidIn: headers) == nil, let death = content.header.death {
            headers.merge(death.headers) { old, _ in old }
        }
        headers[queueHeader] = queue
        headers[expirationHeader] = content.header.expiration.map { String($0.milliseconds) }
        return OutgoingMessage(
            queue: movingQueue.name, body: content.body, id: content.header.messageID ?? "unknown", headers: headers)
    }

    /// The time to wait begins anew: the broker does not say how much of it has passed. Whoever takes the message looks at
    /// its deadline.
    private static func back(_ content: ContentAssembler.Content) -> OutgoingMessage? {
        var headers = content.header.headers.filter { !$0.key.hasPrefix("x-") }
        guard let queue = headers.removeValue(forKey: queueHeader) else { return nil }
        let expiration = headers.removeValue(forKey: expirationHeader).flatMap { Duration(expirationText: $0) }
        return OutgoingMessage(
            queue: queue, body: content.body, id: content.header.messageID ?? "unknown", headers: headers,
            expiration: expiration)
    }

    // MARK: The connection

    private func receive(_ event: Connection.Event) {
        do throws(RabbitError) {
            switch event {
            case .content(let content):
                if case .basicReturn(_, let routingKey) = content.method {
                    return window.returned(queue: routingKey, id: content.header.messageID ?? "")
                }
                guard case .basicDeliver(_, let tag, _) = content.method else { return }
                guard let message = route(content) else { throw .invalid(field: "headers", reason: "no queue named") }
                moved.messages += 1
                moved.bytes += Int64(content.body.count)
                try send(Passenger(tag: tag, message: message, refusals: 0))
            case .confirmed(let tag, let multiple):
                try settle(try window.confirm(tag, multiple: multiple, isAccepted: true))
            case .refused(let tag, let multiple):
                try settle(try window.confirm(tag, multiple: multiple, isAccepted: false))
            case .consumerCancelled: isConsumerGone = true
            // A call that closed the channel says so; the end of the connection is asked for.
            case .channelClosed, .blocked, .ended: break
            }
        } catch {
            refusal = refusal ?? error
        }
    }

    private func send(_ passenger: Passenger) throws(RabbitError) {
        guard let connection else { throw .connectionLost }
        let frames = try connection.encode(passenger.message)
        _ = window.add(
            queue: passenger.message.queue, id: passenger.message.id, deadline: .now + configuration.confirmTimeout,
            waiter: passenger)
        try connection.write(frames)
    }

    private func settle(_ settled: [PublishWindow<Passenger>.Settled]) throws(RabbitError) {
        for (passenger, result) in settled {
            switch result {
            case .success:
                if acknowledges { try connection?.send(.basicAck(deliveryTag: passenger.tag, multiple: false)) }
            case .failure(.rejected) where passenger.refusals < 100:
                // A queue that has just been declared may refuse a channel's first publish.
                try send(
                    Passenger(tag: passenger.tag, message: passenger.message, refusals: passenger.refusals + 1))
            case .failure(.unroutable(let queue)):
                // Of a queue that nobody has declared (a shard that is no more). It goes back to where it was with the
                // end of this connection, for an operator.
                logger.error("a message was moved aside whose queue is gone", metadata: ["queue": "\(queue)"])
            case .failure(let error): throw error
            }
            try onStep(.moved)
        }
    }

    /// Lets time pass, and throws what happened meanwhile.
    private func pause(_ duration: Duration) async throws(RabbitError) {
        do { try await Task.sleep(for: duration) } catch { throw .cancelled }
        guard isWanted() else { throw .unavailable }
        if let refusal { throw refusal }
        if let failure = connection?.failure { throw failure }
        if let deadline = window.earliestDeadline(), deadline < .now { throw .timedOut }
    }
}
