import Logging
import ServiceLifecycle

/// Takes messages from queues, as many at a time as its prefetch says. Has its own connection and thread.
public final class RabbitConsumer: Service, Sendable {
    /// The deliveries of all queues, in the order in which they came; at most `prefetch` of each queue are out at a
    /// time (twice that after a `resume`). Deliveries of a channel that has died are taken out of it. Ends after
    /// `stopConsuming`, with the run, and when the task that iterates it is cancelled.
    public let deliveries: AsyncStream<Delivery>
    let core: ConsumerCore

    /// - Parameters:
    ///   - queues: declared on every connect, then consumed from: one consumer each.
    ///   - alsoDeclares: declared before those, not consumed from (a dead letter's target).
    ///   - prefetch: unacknowledged deliveries for each queue, 1 to 65535.
    public init(
        configuration: RabbitConfiguration, queues: [QueueDeclaration], alsoDeclares: Topology = Topology(queues: []),
        prefetch: Int, logger: Logger
    ) {
        core = ConsumerCore(
            configuration: configuration, queues: queues, alsoDeclares: alsoDeclares, prefetch: prefetch,
            logger: logger)
        deliveries = core.buffer.stream
    }

    /// Keeps the connection and the consumers until cancelled or gracefully shut down. What is unacknowledged then
    /// goes back to its queue.
    public func run() async throws {
        let core = core
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                await core.keepConnected()
            } onGracefulShutdown: {
                Task { await core.leave() }
            }
        } onCancel: {
            Task { await core.close() }
        }
        core.buffer.finish()
    }

    /// Whether deliveries can come now (even when paused).
    public var isConnected: Bool { core.link.isConnected }

    /// Waits for the connection, at most `timeout`; tells whether it is there.
    public func waitUntilConnected(timeout: Duration) async -> Bool {
        await core.link.waitUntilConnected(timeout: timeout)
    }

    /// Acknowledges many deliveries with as few frames as their tags allow. Those settled before are left out.
    ///
    /// - Returns: the deliveries that could not be acknowledged (their channel is gone: the broker redelivers).
    @discardableResult
    public func acknowledge(_ batch: [Delivery]) async -> [Delivery] {
        await core.acknowledge(batch)
    }

    /// Cancels the consumers at the broker; what was already delivered can still be taken and acknowledged. For an
    /// open breaker. Survives reconnects.
    public func pause() async { await core.pause() }

    /// Consumes again after `pause`.
    public func resume() async { await core.resume() }

    /// No new deliveries, for good: untaken ones go back to the broker at once, `deliveries` ends, and those already
    /// taken can still be acknowledged.
    public func stopConsuming() async { await core.stopConsuming() }
}
