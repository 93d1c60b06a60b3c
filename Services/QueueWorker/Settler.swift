import ChatCore
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TraceKit
import TurnProtocol

/// Settles one shard's response queue: many outcomes in one statement, each stored once however often it is delivered.
///
/// While the shard's circuit breaker is open it does not consume: what it held goes back to the queue, where it waits, or
/// where another worker takes it that reaches the shard.
struct Settler: Service {
    let shard: ShardedDatabase.Shard
    let consumer: RabbitConsumer
    let repository: SettlementRepository
    let markers: Markers
    let publisher: RabbitPublisher
    let batch: Int
    let metrics: SettleMetrics
    let logger: Logger
    var tracer: SpanTracer?
    var pool = WorkPool.shared

    /// The bytes of outcomes that all settlers of a worker hold at a time, when each is as large as one can be. Another
    /// as much is decoded, and a statement of a shard takes some 8 MiB a few times over.
    private static let heldBytes = 64 << 20
    /// An outcome: a message of 1 MiB and an answer as long as a model's context.
    private static let largestOutcome = 2 << 20

    /// Outcomes that a settler takes at a time. The queue has one active consumer, whose count the broker never changes, and
    /// no bound in bytes: so the count is what the largest outcomes allow, and at least enough for a batch that is worth it.
    static func prefetch(batch: Int, shards: Int) -> Int {
        min(batch * 2, max(4, heldBytes / largestOutcome / max(1, shards)))
    }

    /// How long a marker stays for whoever waits for it.
    private static let markerLifetime: Duration = .seconds(60)

    func run() async throws {
        // What has been delivered collects here while a statement runs: batches grow with the load and a lone outcome
        // waits for nobody. Its bound is the consumer's prefetch, so that nothing is ever refused.
        let arrived = Mailbox<Delivery>(capacity: batch * 8)
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await consumer.run() }
            group.addTask { await cancelWhenGracefulShutdown { await followBreaker() } }
            group.addTask {
                for await delivery in consumer.deliveries where !arrived.send(delivery) {
                    try? await delivery.reject(requeue: true)
                }
                arrived.close()
            }
            group.addTask {
                while let delivery = await arrived.receive() {
                    var rest = delivery.elements[...]
                    while !rest.isEmpty {
                        await settle(Array(rest.prefix(batch)))
                        rest = rest.dropFirst(batch)
                    }
                }
            }
        }
    }

    private func followBreaker() async {
        await shard.pool.breaker.withChanges { changes in
            var isPaused = false
            while await changes.receive() != nil {
                switch shard.pool.breaker.state {
                case .open where !isPaused:
                    logger.notice("the shard is away: its outcomes wait", metadata: ["shard": "\(shard.name)"])
                    await consumer.pause()
                    isPaused = true
                case .closed where isPaused:
                    consumer.resume()
                    isPaused = false
                // Half-open, the probe is on its way: its end is the news.
                case .open, .halfOpen, .closed: break
                }
            }
        }
    }

    private func settle(_ delivered: [Delivery]) async {
        // Those of a channel that is gone come again, in order.
        let deliveries = delivered.filter(\.isLive)
        var outcomes: [TurnOutcome] = []
        var redelivered: Set<TurnID> = []
        var marked: [SettleMarker] = []
        var settled: [Delivery] = []
        for delivery in deliveries {
            do {
                if delivery.headers[SettleMarker.header] != nil {
                    marked.append(try SettleMarker(message: delivery.body))
                } else {
                    // Those behind it wait too: a marker means that all before it are settled.
                    let patience = Patience(logger: logger) { delivery.isLive && !Task.isShuttingDownGracefully }
                    let outcome = try await patience.read(TurnOutcome.self, of: delivery, on: pool)
                    metrics.delivered(outcome)
                    outcomes.append(outcome)
                    if delivery.redelivered { redelivered.insert(outcome.turn) }
                }
                settled.append(delivery)
            } catch  where error is Abandoned || error is CancellationError {
                // Its channel is gone, or this process leaves: unacknowledged, it comes again.
                continue
            } catch {
                logger.error("a message is no outcome", metadata: ["id": "\(delivery.id ?? "")", "error": "\(error)"])
                if await bury(delivery, reason: "\(error)") { settled.append(delivery) }
            }
        }
        let spans = SettlementSpans(outcomes, redelivered, shard: shard.name, tracer: tracer)
        defer { spans?.end() }
        // When this process drains first, the broker keeps them all.
        guard let refused = await store(outcomes, while: { deliveries.contains(where: \.isLive) }) else { return }
        for delivery in deliveries {
            guard let turn = delivery.id.flatMap({ TurnID($0) }), let error = refused[turn] else { continue }
            spans?.fail(turn, "its shard refuses it")
            if await !bury(delivery, reason: "\(error)") { settled.removeAll { $0.id == delivery.id } }
        }
        for marker in marked { await set(marker) }
        await consumer.acknowledge(settled)
    }

    /// Puts what can never be settled where an operator finds it. The response queue has no dead letters of its own: it
    /// gives nothing up by counting.
    /// - Returns: false when the broker did not take it; the message then stays where it is.
    private func bury(_ delivery: Delivery, reason: String) async -> Bool {
        do throws(RabbitError) {
            try await publisher.publish(OutgoingMessage(givenUp: delivery, reason: reason))
            return true
        } catch {
            logger.error("a dead letter could not be kept", metadata: ["error": "\(error)"])
            return false
        }
    }

    /// Stores a batch, as often as it takes: the shard may be away for hours, and the queue holds what waits.
    /// - Parameter areHeld: whether this process still has the messages.
    /// - Returns: what can never be stored, and why; nil when this process drains or loses the messages first.
    private func store(
        _ outcomes: [TurnOutcome], while areHeld: () -> Bool
    ) async -> [TurnID: DatabaseError]? {
        func goesOn() -> Bool { !Task.isCancelled && !Task.isShuttingDownGracefully && areHeld() }
        // A marker alone needs no statement, but must not be set when the outcomes before it were let go.
        guard !outcomes.isEmpty else { return goesOn() ? [:] : nil }
        var backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        while goesOn() {
            do throws(DatabaseError) {
                let start = ContinuousClock.now
                let result = try await repository.settle(outcomes, on: shard)
                await metrics.settled(result.stored, of: outcomes, in: start.duration(to: .now))
                for (turn, error) in result.refused {
                    let trace = outcomes.first { $0.turn == turn }?.trace
                    logger.about(turn, in: trace).error(
                        "an outcome cannot be stored", metadata: ["error": "\(error)"])
                }
                logger.debug(
                    "settled",
                    metadata: ["shard": "\(shard.name)", "stored": "\(result.stored.count)", "of": "\(outcomes.count)"])
                return result.refused
            } catch {
                // What does not pass by itself (a missing table) holds up the shard's queue until somebody acts, loses nothing.
                logger.log(
                    level: error.isTransient ? .warning : .error, "a batch is tried again",
                    metadata: ["shard": "\(shard.name)", "error": "\(error)"])
                try? await Task.sleep(for: backoff.next())
            }
        }
        return nil
    }

    private func set(_ marker: SettleMarker) async {
        do throws(RedisError) {
            try await markers.set(marker.name, ttl: Settler.markerLifetime)
        } catch {
            // Whoever waits for it sends a new one after ten seconds.
            logger.warning("a marker could not be set", metadata: ["error": "\(error)"])
        }
    }
}
