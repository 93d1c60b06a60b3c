import ChatCore
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TurnProtocol

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

    private func take(_ delivery: Delivery) async {
        guard let turn = await TurnConsumer.read(delivery, logger) else { return }
        // A turn is held for minutes: once, not encoded beside it.
        delivery.forgetBody()
        services.metrics.delivered(turn, from: delivery.queue)
        await TurnRunner.run(
            delivery, turn: turn, services: services, logger: logger.about(turn.id, in: turn.trace))
        services.metrics.left(turn)
    }

    /// The delivery's turn. Nil when it is none, or when the delivery is another's to read: then it has been given back.
    static func read(_ delivery: Delivery, on pool: WorkPool = .shared, _ logger: Logger) async -> Turn? {
        do {
            return try await Patience(logger: logger) { delivery.isLive }.read(Turn.self, of: delivery, on: pool)
        } catch is Abandoned {
            // Its channel is gone: the broker gives it out again by itself.
        } catch is CancellationError {
            // This process leaves.
            try? await delivery.reject(requeue: true)
        } catch {
            logger.error("a message is no turn", metadata: ["queue": "\(delivery.queue)", "error": "\(error)"])
            try? await delivery.reject(requeue: false)
        }
        return nil
    }
}
