import Logging

/// Takes messages from queues, as many at a time as its prefetch says. Has its own connection and thread.
public final class RabbitConsumer: BrokerClient, Sendable {
    /// The deliveries of all queues, in the order in which they came; at most `prefetch` of each queue are out at a
    /// time. Deliveries of a channel that has died are taken out of it. Ends after
    /// `stopConsuming`, with the run, and when the task that iterates it is cancelled.
    public let deliveries: AsyncStream<Delivery>
    let core: ConsumerCore
    public var link: ConnectionLink { core.link }

    /// - Parameters:
    ///   - queues: declared on every connect, then consumed from: one consumer each.
    ///   - alsoDeclares: declared before those, not consumed from (a dead letter's target).
    ///   - prefetch: unacknowledged deliveries for each queue at most, 1 to 65535. It begins with few.
    ///   - maximumBytes: about how many bytes their bodies may have together.
    public init(
        configuration: RabbitConfiguration, queues: [QueueDeclaration], alsoDeclares: Topology = Topology(queues: []),
        prefetch: Int, maximumBytes: Int = 64 << 20, logger: Logger
    ) {
        core = ConsumerCore(
            configuration: configuration, queues: queues, alsoDeclares: alsoDeclares, prefetch: prefetch,
            maximumBytes: maximumBytes, logger: logger)
        deliveries = core.buffer.stream
    }

    /// Keeps the connection and the consumers until cancelled or gracefully shut down. What is unacknowledged then
    /// goes back to its queue.
    public func run() async throws {
        await core.run { await $0.leave() }
        core.buffer.finish()
    }

    /// Acknowledges many deliveries with as few frames as their tags allow. Those settled before are left out.
    ///
    /// - Returns: the deliveries that could not be acknowledged (their channel is gone: the broker redelivers).
    @discardableResult
    public func acknowledge(_ batch: [Delivery]) async -> [Delivery] {
        await core.acknowledge(batch)
    }

    /// Takes nothing until `resume`, and gives everything unacknowledged back: the connection ends, and with it the claim
    /// on its deliveries, in one step at the broker. So another consumer that goes on in this one's place finds the queue
    /// in its order; cancelling alone would give it what lies behind what is still held here.
    public func pause() async { await core.pause() }

    /// Connects and consumes again after `pause`.
    public func resume() { core.link.resume() }

    /// No new deliveries, for good: untaken ones go back to the broker at once, `deliveries` ends, and those already
    /// taken can still be acknowledged.
    public func stopConsuming() async { await core.stopConsuming() }
}
