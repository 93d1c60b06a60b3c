import ChatCore
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle

/// Makes the queue worker of its settings. Services start in the order of the list and stop in the reverse.
func wireQueueWorker(_ settings: Settings, _ logger: Logger) async throws -> [any Service] {
    let rabbit = try settings.rabbit(client: "queue-worker")
    let batch = try settings(Settings.workerBatch)
    let redis = RedisPool(configuration: try settings.redis(client: "queue-worker"), logger: logger)
    let database = try ShardedDatabase(configuration: try settings.database(), logger: logger)
    let topology = Topology.platform(responseShards: database.shards.map(\.name))
    let publisher = RabbitPublisher(configuration: rabbit, topology: topology, logger: logger)
    let repository = SettlementRepository(database: database)
    let markers = Markers(pool: redis)
    // A settler for each shard, with a connection of its own: a shard that is down holds up no other.
    let settlers = database.shards.map { shard in
        let queue = QueueDeclaration.responses(shard: shard.name)
        let consumer = RabbitConsumer(
            configuration: rabbit, queues: [queue],
            alsoDeclares: topology, prefetch: batch * 2, logger: logger)
        return Settler(
            shard: shard, consumer: consumer, repository: repository, markers: markers, publisher: publisher,
            batch: batch,
            logger: logger)
    }
    let partitions = PartitionKeeper(database: database, logger: logger)
    return [redis, database, publisher] + settlers + [partitions]
}
