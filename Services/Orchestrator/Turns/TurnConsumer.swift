import ChatCore
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle

/// Runs every delivered turn in a task of its own; the consumer's prefetch bounds how many there are.
struct TurnConsumer: Service {
    let consumer: RabbitConsumer
    let presence: Presence
    let services: TurnServices
    let logger: Logger

    /// How long a heartbeat is believed.
    static let heartbeatLifetime: Duration = .seconds(5)

    /// Of the messages of all turns that are held: with the first consumers' places (96 MiB) half of the memory that
    /// docker-compose.yml gives an orchestrator.
    static let maximumBytes = 160 << 20

    func run() async throws {
        // Before the first turn: nodes drop the work of orchestrators that they do not see alive.
        await cancelWhenGracefulShutdown { await showPresence() }
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await consumer.run() }
            group.addTask {
                await cancelWhenGracefulShutdown {
                    await withDiscardingTaskGroup { turns in
                        for await delivery in consumer.deliveries { turns.addTask { await take(delivery) } }
                        turns.cancelAll()
                    }
                }
            }
        }
    }

    /// Repeated until it is seen: a Redis that refuses writes now is no reason to end.
    private func showPresence() async {
        var backoff = Backoff(base: .milliseconds(50), cap: .seconds(1))
        while !Task.isCancelled {
            do throws(RedisError) {
                try await services.redis.waitUntilConnected()
                return try await presence.beat(
                    kind: TurnServices.kind, id: services.rules.name, ttl: TurnConsumer.heartbeatLifetime)
            } catch {
                logger.warning("no turns are taken yet", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Whether a message was not read for want of room or because this process leaves.
    private static func isOurs(_ error: any Error) -> Bool { error is WorkPool.Full || error is CancellationError }

    private func take(_ delivery: Delivery) async {
        let turn: Turn
        do {
            turn = try await WorkPool.shared.decode(Turn.self, from: delivery.body)
        } catch  where Self.isOurs(error) {
            // The message is not at fault.
            try? await delivery.reject(requeue: true)
            return
        } catch {
            logger.error("a message is no turn", metadata: ["queue": "\(delivery.queue)", "error": "\(error)"])
            try? await delivery.reject(requeue: false)
            return
        }
        // A turn is held for minutes: once, not encoded beside it.
        delivery.forgetBody()
        services.metrics.delivered(turn, from: delivery.queue)
        await TurnRunner.run(
            delivery, turn: turn, services: services, logger: logger.about(turn.id, in: turn.trace))
        services.metrics.left(turn)
    }
}
