import ChatCore
import Foundation
import Logging
import OperatorPort
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TraceKit
import TurnProtocol

/// Makes the queue worker of its settings. Services start in the order of the list and stop in the reverse.
func wireQueueWorker(_ settings: Settings, _ logger: Logger) async throws -> [any Service] {
    let name = "\(ProcessInfo.processInfo.hostName)-\(UInt32.random(in: .min ... .max))"
    let traces = try Traces(settings, service: "queue-worker", instance: name, logger: logger)
    let rabbit = try settings.rabbit(client: "queue-worker")
    let batch = try settings(Settings.workerBatch)
    let redis = RedisPool(configuration: try settings.redis(client: "queue-worker"), logger: logger)
    let database = try ShardedDatabase(configuration: try settings.database(), logger: logger)
    let topology = Topology.platform(
        responseShards: database.shards.map(\.name), bounds: try settings.queueBounds())
    let publisher = RabbitPublisher(configuration: rabbit, topology: topology, logger: logger)
    let repository = SettlementRepository(database: database)
    let markers = Markers(pool: redis)
    // A settler for each shard, with a connection of its own: a shard that is down holds up no other.
    let clock = RedisClock(pool: redis)
    let settled = database.shards.map { SettleMetrics(shard: $0.name, clock: clock) }
    let settlers = zip(database.shards, settled).map { shard, metrics in
        let consumer = RabbitConsumer(
            configuration: rabbit, queues: topology.queues(named: [Topology.responseQueue(shard: shard.name)]),
            alsoDeclares: topology, prefetch: Settler.prefetch(batch: batch, shards: database.shards.count),
            logger: logger)
        return Settler(
            shard: shard, consumer: consumer, repository: repository, markers: markers, publisher: publisher,
            batch: batch, metrics: metrics, logger: logger, tracer: traces.tracer)
    }
    let partitions = PartitionKeeper(database: database, logger: logger)
    let due = DueRetries(rabbit: rabbit, topology: topology, publisher: publisher, clock: clock, logger: logger)
    let deadLetters = RabbitConsumer(
        configuration: rabbit, queues: topology.queues(named: [Topology.deadLetterQueue]), alsoDeclares: topology,
        prefetch: DeadLetterDrain.prefetch, maximumBytes: DeadLetterDrain.maximumBytes, logger: logger)
    let ending = TurnEnding(
        log: TurnLog(pool: redis, retention: try settings(Settings.turnRetention)),
        order: ConversationOrder(pool: redis),
        contexts: ContextCache(pool: redis), outstanding: OutstandingTurns(pool: redis), publisher: publisher
    ) { database.shard(for: $0).name }
    let letters = DeadLetterRepository(directory: database.directory)
    let inspector = QueueInspector(configuration: rabbit, logger: logger)
    let watch = QueueWatch(
        queues: topology.queues.map(\.name), inspector: inspector, loads: LoadDirectory(pool: redis), settled: settled,
        letters: letters, clock: clock, logger: logger)
    let drain = DeadLetterDrain(
        name: name, model: try settings(Settings.modelName), consumer: deadLetters, letters: letters,
        conversations: ConversationRepository(database: database), ending: ending, clock: clock,
        retention: try settings(Settings.deadLetterRetention),
        turnRetention: try settings(Settings.turnRetention), logger: logger, tracer: traces.tracer)
    let beats = WorkerPresence(presence: Presence(pool: redis), shards: database.shards, logger: logger)
    let notice = DrainNotice()
    let port = try OperatorPort(
        settings, port: Settings.workerOperatorPort,
        probes: Probes(readiness: [
            notice.check, Probes.holds("redis is not connected") { redis.isConnected }, Probes.closed(redis.breaker),
            Probes.closed(redis.writes), Probes.admits(redis),
            { publisher.reluctance },
            Probes.holds("rabbitmq is not connected") { deadLetters.isConnected },
            Probes.anyClosed(database.shards.map(\.pool.breaker)), Probes.admits(database),
            Probes.anyClosed(database.shards.map(\.pool.writes)),
        ]), logger: logger)
    return traces.services + [port, redis, database, publisher, inspector] + settlers + [
        partitions, due, drain, watch, beats, notice,
    ]
}
