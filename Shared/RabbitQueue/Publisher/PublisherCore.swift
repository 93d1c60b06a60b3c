import Logging
import ServiceKit

/// The publisher's state, on the publisher's thread.
actor PublisherCore: ConnectionOwner {
    /// Nil for a publish that nobody waits for.
    private typealias Waiter = CheckedContinuation<Result<Void, RabbitError>, Never>?

    nonisolated let executor = SocketExecutor(name: "rabbit-publish")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    nonisolated let link: ConnectionLink
    var connection: Connection?
    private let topology: Topology
    private var window = PublishWindow<Waiter>()
    /// Sequence numbers begin anew with each connection; a cancellation that comes late must not hit the next one's.
    private var generation = 0
    private var isReady = false
    private var expiry: SocketExecutor.TimerID?
    private var canary: SocketExecutor.TimerID?
    /// The broker speaks of an alarm only to who publishes, and only then: a message for no queue, once a second while
    /// nothing else is published, so that an alarm is known before somebody's turn meets it.
    private static let canaryInterval: Duration = .seconds(1)
    private var hasPublished = false
    private var drained: CheckedContinuation<Void, Never>?

    init(configuration: RabbitConfiguration, topology: Topology, breaker: DependencyBreaker, logger: Logger) {
        link = ConnectionLink(configuration: configuration, role: "publisher", breaker: breaker, logger: logger)
        self.topology = topology
    }

    deinit { executor.shutDown() }

    func publish(_ message: OutgoingMessage) async throws(RabbitError) {
        guard !Task.isCancelled else { throw .cancelled }
        guard let connection, isReady, !link.isClosing else { throw .unavailable }
        guard !link.isBlocked else { throw .blocked(wasSent: false) }
        guard window.count < link.configuration.maximumPendingPublishes,
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
        hasPublished = true
        do throws(RabbitError) {
            try connection.write(frames)
            watchDeadlines()
        } catch {
            window.remove(sequence)??.resume(returning: .failure(error))
        }
    }

    private func cancel(_ ticket: PublishTicket) {
        guard let (ticketGeneration, sequence) = ticket.value, ticketGeneration == generation else { return }
        window.remove(sequence)??.resume(returning: .failure(.cancelled))
        tellWhenDrained()
    }

    func ping() async throws(RabbitError) {
        guard let connection, isReady, !link.isClosing else { throw .unavailable }
        // It would not be read.
        guard !link.isBlocked else { throw .blocked(wasSent: false) }
        // Sets what a publisher never uses: the cheapest method that the channel's process itself answers.
        guard case .basicQosOk = try await connection.call(.basicQos(prefetch: 1)) else {
            throw .protocolViolation("no basic.qos-ok")
        }
    }

    // MARK: The connection

    func setUp(_ connection: Connection) async throws(RabbitError) {
        try await declare(topology.queues, on: connection)
        guard case .confirmSelectOk = try await connection.call(.confirmSelect) else {
            throw .protocolViolation("no confirm.select-ok")
        }
        generation += 1
        link.blocked(false)
        isReady = true
        sendCanaries()
    }

    func receive(_ event: Connection.Event) {
        switch event {
        case .confirmed(let tag, let multiple): confirm(tag, multiple: multiple, isAccepted: true)
        case .refused(let tag, let multiple): confirm(tag, multiple: multiple, isAccepted: false)
        case .content(let content):
            guard case .basicReturn(_, let routingKey) = content.method else { return }
            window.returned(queue: routingKey, id: content.header.messageID ?? "")
        case .blocked(let isBlocked): blocked(isBlocked)
        case .channelClosed(let error):
            // The channel's confirms are lost with it: everything begins anew. While it is set up, the call that closed it
            // says so.
            if isReady { connection?.end(error) }
        case .ended, .consumerCancelled: break
        }
    }

    func tearDown(_ error: RabbitError) {
        isReady = false
        link.blocked(false)
        if let canary { executor.cancel(canary) }
        canary = nil
        for waiter in window.removeAll() { waiter?.resume(returning: .failure(.connectionLost)) }
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

    // MARK: Alarms

    /// Nobody waits for an alarm's end: it may last hours.
    private func blocked(_ isBlocked: Bool) {
        link.blocked(isBlocked)
        guard isBlocked else { return }
        for waiter in window.abandonAll() { waiter?.resume(returning: .failure(.blocked(wasSent: true))) }
        tellWhenDrained()
    }

    private func sendCanaries() {
        canary = executor.schedule(after: Self.canaryInterval) { [weak self] in
            self?.assumeIsolated { core in
                if !core.hasPublished { core.sendCanary() }
                core.hasPublished = false
                core.sendCanaries()
            }
        }
    }

    private func sendCanary() {
        guard let connection, isReady, !link.isBlocked, !link.isClosing, window.count == 0 else { return }
        let message = OutgoingMessage(queue: "", body: [], id: "canary", durable: false)
        guard let frames = try? connection.encode(message) else { return }
        _ = window.add(
            queue: message.queue, id: message.id, deadline: .now + link.configuration.confirmTimeout, waiter: nil)
        try? connection.write(frames)
        watchDeadlines()
    }

    // MARK: Confirms

    private func confirm(_ tag: UInt64, multiple: Bool, isAccepted: Bool) {
        do throws(RabbitError) {
            for (waiter, result) in try window.confirm(tag, multiple: multiple, isAccepted: isAccepted) {
                waiter?.resume(returning: result)
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
                for waiter in core.window.expire(at: .now) { waiter?.resume(returning: .failure(.timedOut)) }
                core.tellWhenDrained()
                core.watchDeadlines()
            }
        }
    }
}
