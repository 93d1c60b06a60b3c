import Logging
import Metrics
import ServiceKit
import Synchronization

/// Publishes with the broker's confirm: what `publish` returns from is stored. Has its own connection and thread.
///
/// Publishes go through a circuit breaker: while it is open they are refused at once as `.unavailable`.
public final class RabbitPublisher: BrokerClient, Sendable {
    let core: PublisherCore
    public let breaker: DependencyBreaker
    private let confirmTime = Measures.brokerConfirm()
    private let refusals = Mutex(Refusals())
    public var link: ConnectionLink { core.link }

    /// - Parameter topology: declared on every connect, before the first publish.
    public init(configuration: RabbitConfiguration, topology: Topology, logger: Logger) {
        breaker = DependencyBreaker("rabbitmq", logger: logger)
        core = PublisherCore(configuration: configuration, topology: topology, breaker: breaker, logger: logger)
    }

    /// Whether a publish would be sent now: there is a connection, and the broker reads from it.
    public var takesMessages: Bool { link.isConnected && !link.isBlocked }

    /// Why it takes none, for whoever asks after the service; nil when it does.
    public var reluctance: String? {
        if link.isBlocked { return "\(RabbitError.blocked(wasSent: false))" }
        guard !link.isConnected else { return nil }
        return link.lastFailure.map { "rabbitmq is not connected: \($0)" } ?? "rabbitmq is not connected"
    }

    /// Whether the queue has refused several publishes in a row, the last of them within a second: it is full.
    public func isRefused(by queue: String) -> Bool { refusals.withLock { $0.isRefused(by: queue, at: .now) } }

    /// Keeps the connection until cancelled or gracefully shut down; then the publishes in flight get
    /// `confirmTimeout` to be confirmed.
    public func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.core.run { await $0.drain() } }
            group.addTask { await self.breaker.keepProbing { try? await self.ping() } }
            await group.next()
            group.cancelAll()
        }
    }

    /// Returns only after the broker's confirm.
    ///
    /// - Throws: `.unroutable` (returned), `.rejected` (queue full), `.unavailable`, `.overloaded`, `.invalid` and
    ///   `.blocked` before it was sent: the broker does not have it. `.timedOut`, `.connectionLost`, `.cancelled`, and
    ///   `.blocked` after it was sent: it may; retry under the same id.
    public func publish(_ message: OutgoingMessage) async throws(RabbitError) {
        try message.validate(maximumBodyBytes: core.link.configuration.maximumBodyBytes)
        let ledger = WaitLedger.current
        ledger?.begin(.broker)
        defer { ledger?.end(.broker) }
        let start = ContinuousClock.now
        do throws(RabbitError) {
            try await permitted { () async throws(RabbitError) in try await core.publish(message) }
        } catch {
            if case .rejected = error { refusals.withLock { $0.refused(by: message.queue, at: .now) } }
            throw error
        }
        refusals.withLock { if !$0.isEmpty { $0.confirmed(by: message.queue) } }
        confirmTime.record(duration: start.duration(to: .now))
    }

    /// A round trip over the publisher's channel.
    func ping() async throws(RabbitError) {
        try await permitted { () async throws(RabbitError) in try await core.ping() }
    }

    private func permitted(_ call: () async throws(RabbitError) -> Void) async throws(RabbitError) {
        guard let permit = try? breaker.admit() else { throw .unavailable }
        do throws(RabbitError) {
            try await call()
            breaker.settle(permit, .success)
        } catch {
            // Whoever leaves has no connection, and learns nothing from that.
            breaker.settle(permit, link.isClosing ? .neither : error.verdict, reason: error.description)
            throw error
        }
    }
}
