import ChatCore
import Logging
import RabbitQueue
import RedisStore
import ServiceLifecycle

/// Puts turns whose retry is due back into the queues of their kinds, each with the time that its deadline leaves it.
///
/// Orchestrators and queue workers both run it: a retry is not to depend on one kind of process, and whoever takes a
/// turn first does the same with it.
public struct DueRetries: Service {
    /// Turns that are on their way from one queue to the other at a time.
    public static let prefetch = 64
    /// Of their messages: room for 64 small ones, and for about 16 of the largest.
    private static let maximumBytes = 40 << 20

    private let consumer: RabbitConsumer
    private let publisher: RabbitPublisher
    private let clock: RedisClock
    private let logger: Logger

    /// - Parameter topology: declared before the due queue is consumed.
    public init(
        rabbit: RabbitConfiguration, topology: Topology, publisher: RabbitPublisher, clock: RedisClock, logger: Logger
    ) {
        consumer = RabbitConsumer(
            configuration: rabbit, queues: topology.queues(named: [RetryLadder.dueQueue]),
            alsoDeclares: topology, prefetch: Self.prefetch, maximumBytes: Self.maximumBytes, logger: logger)
        self.publisher = publisher
        self.clock = clock
        self.logger = logger
    }

    public func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await consumer.run() }
            group.addTask {
                await cancelWhenGracefulShutdown {
                    await withDiscardingTaskGroup { turns in
                        for await delivery in consumer.deliveries { turns.addTask { await putBack(delivery) } }
                        turns.cancelAll()
                    }
                }
            }
        }
    }

    private func putBack(_ delivery: Delivery) async {
        let patience = Patience(logger: logger) { delivery.isLive }
        do {
            let message: OutgoingMessage
            do {
                let turn = try await patience.read(Turn.self, of: delivery)
                let now = try await patience { try await clock.now() }
                message = OutgoingMessage(turn: turn, body: delivery.body, now: now)
            } catch let error where error is DecodingError || error is WireError {
                logger.error("a message is no turn", metadata: ["queue": "\(delivery.queue)", "error": "\(error)"])
                message = OutgoingMessage(givenUp: delivery, reason: "not a turn: \(error)")
            }
            try await patience { try await publisher.publish(message) }
            // A turn that is published and not acknowledged comes twice: the lease makes that harmless.
            try await delivery.acknowledge()
        } catch {
            logger.notice("a retry stays where it is", metadata: ["error": "\(error)"])
            // Each return is counted: one that follows the other at once would use them all up.
            if !Task.isCancelled { try? await Task.sleep(for: .seconds(1)) }
            try? await Task { try await delivery.reject(requeue: true) }.value
        }
    }
}
