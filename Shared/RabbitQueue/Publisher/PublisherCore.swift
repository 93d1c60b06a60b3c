import Logging
import ServiceKit

/// The publisher's state, on the publisher's thread.
actor PublisherCore: ConnectionOwner {
    private typealias Waiter = CheckedContinuation<Result<Void, RabbitError>, Never>

    nonisolated let executor = SocketExecutor(name: "rabbit-publish")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated let link: ConnectionLink
    var connection: Connection?
    private let topology: Topology
    private var window = PublishWindow<Waiter>()
    /// Sequence numbers begin anew with each connection; a cancellation that comes late must not hit the next one's.
    private var generation = 0
    private var isReady = false
    private var isBlocked = false
    private var expiry: SocketExecutor.TimerID?
    private var drained: CheckedContinuation<Void, Never>?

    init(configuration: RabbitConfiguration, topology: Topology, breaker: DependencyBreaker, logger: Logger) {
        link = ConnectionLink(configuration: configuration, role: "publisher", breaker: breaker, logger: logger)
        self.topology = topology
    }

    deinit { executor.shutDown() }

    func publish(_ message: OutgoingMessage) async throws(RabbitError) {
        guard !Task.isCancelled else { throw .cancelled }
        guard let connection, isReady, !link.isClosing else { throw .unavailable }
        guard !isBlocked, window.count < link.configuration.maximumPendingPublishes,
            connection.hasRoom(for: message.body.count)
        else { throw .overloaded }
        let frames = try connection.encode(message)
        let ticket = PublishTicket()
        // On cancellation the message is not taken back: it may be stored already.
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { waiter in
                // Names self: a closure that does not capture the actor would not run on its thread.
                self.send(message, frames, on: connection, for: waiter, ticket)
            }
        } onCancel: {
            Task { await self.cancel(ticket) }
        }
        try result.get()
    }

    private func send(
        _ message: OutgoingMessage, _ frames: [UInt8], on connection: Connection, for waiter: Waiter,
        _ ticket: PublishTicket
    ) {
        let sequence = window.add(
            queue: message.queue, id: message.id, deadline: .now + link.configuration.confirmTimeout, waiter: waiter)
        ticket.issue(generation: generation, sequence: sequence)
        do throws(RabbitError) {
            try connection.write(frames)
            watchDeadlines()
        } catch {
            window.remove(sequence)?.resume(returning: .failure(error))
        }
    }

    private func cancel(_ ticket: PublishTicket) {
        guard let (ticketGeneration, sequence) = ticket.value, ticketGeneration == generation else { return }
        window.remove(sequence)?.resume(returning: .failure(.cancelled))
        tellWhenDrained()
    }

    func ping() async throws(RabbitError) {
        guard let connection, isReady, !link.isClosing else { throw .unavailable }
        // Sets what a publisher never uses: the cheapest method that the channel's process itself answers.
        guard case .basicQosOk = try await connection.call(.basicQos(prefetch: 1)) else {
            throw .protocolViolation("no basic.qos-ok")
        }
    }

    // MARK: The connection

    func setUp(_ connection: Connection) async throws(RabbitError) {
        for queue in topology.queues { try await declare(queue, on: connection) }
        guard case .confirmSelectOk = try await connection.call(.confirmSelect) else {
            throw .protocolViolation("no confirm.select-ok")
        }
        generation += 1
        isBlocked = false
        isReady = true
    }

    func receive(_ event: Connection.Event) {
        switch event {
        case .confirmed(let tag, let multiple): confirm(tag, multiple: multiple, isAccepted: true)
        case .refused(let tag, let multiple): confirm(tag, multiple: multiple, isAccepted: false)
        case .content(let content):
            guard case .basicReturn(_, let routingKey) = content.method else { return }
            window.returned(queue: routingKey, id: content.header.messageID ?? "")
        case .blocked(let isBlocked): self.isBlocked = isBlocked
        case .channelClosed(let error):
            // The channel's confirms are lost with it: everything begins anew.
            connection?.end(error)
        case .ended, .consumerCancelled: break
        }
    }

    func tearDown(_ error: RabbitError) {
        isReady = false
        for waiter in window.removeAll() { waiter.resume(returning: .failure(.connectionLost)) }
        tellWhenDrained()
        if let expiry { executor.cancel(expiry) }
        expiry = nil
    }

    /// Lets the publishes in flight be confirmed, at most for the time that a publish may take anyway, then closes.
    func drain() async {
        link.beginClosing()
        if window.count > 0 {
            await withCheckedContinuation { drained = $0 }
        }
        await close()
    }

    // MARK: Confirms

    private func confirm(_ tag: UInt64, multiple: Bool, isAccepted: Bool) {
        do throws(RabbitError) {
            for (waiter, result) in try window.confirm(tag, multiple: multiple, isAccepted: isAccepted) {
                waiter.resume(returning: result)
            }
        } catch {
            connection?.end(error)
        }
        tellWhenDrained()
    }

    private func tellWhenDrained() {
        guard window.count == 0 else { return }
        drained.take()?.resume()
    }

    /// One timer for all: it stands at the deadline of the one that waits longest.
    private func watchDeadlines() {
        guard expiry == nil, let deadline = window.earliestDeadline() else { return }
        expiry = executor.schedule(after: deadline - .now) { [weak self] in
            self?.assumeIsolated { core in
                core.expiry = nil
                for waiter in core.window.expire(at: .now) { waiter.resume(returning: .failure(.timedOut)) }
                core.tellWhenDrained()
                core.watchDeadlines()
            }
        }
    }
}

extension ConnectionOwner {
    func declare(_ queue: QueueDeclaration, on connection: Connection) async throws(RabbitError) {
        do throws(RabbitError) {
            guard case .queueDeclareOk = try await connection.call(.queueDeclare(queue)) else {
                throw .protocolViolation("no queue.declare-ok")
            }
        } catch {
            link.logger.error(
                "a queue cannot be declared as it must be", metadata: ["queue": "\(queue.name)", "error": "\(error)"])
            throw error
        }
    }
}
