import Logging
import Metrics
import ServiceKit

/// Publishes with the broker's confirm: what `publish` returns from is stored. Has its own connection and thread.
///
/// Publishes go through a circuit breaker: while it is open they are refused at once as `.unavailable`.
public final class RabbitPublisher: BrokerClient, Sendable {
    let core: PublisherCore
    public let breaker: DependencyBreaker
    private let confirmTime = Measures.brokerConfirm()
    public var link: ConnectionLink { core.link }

    /// - Parameter topology: declared on every connect, before the first publish.
    public init(configuration: RabbitConfiguration, topology: Topology, logger: Logger) {
        breaker = DependencyBreaker("rabbitmq", logger: logger)
        core = PublisherCore(configuration: configuration, topology: topology, breaker: breaker, logger: logger)
    }

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
    /// - Throws: `.unroutable` (returned), `.rejected` (queue full), `.unavailable`, `.overloaded` and `.invalid`:
    ///   the broker does not have it. `.timedOut`, `.connectionLost` and `.cancelled`: it may; retry under the same id.
    public func publish(_ message: OutgoingMessage) async throws(RabbitError) {
        try message.validate(maximumBodyBytes: core.link.configuration.maximumBodyBytes)
        let ledger = WaitLedger.current
        ledger?.begin(.broker)
        defer { ledger?.end(.broker) }
        let start = ContinuousClock.now
        try await permitted { () async throws(RabbitError) in try await core.publish(message) }
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
