import Logging
import PostgresStore
import ServiceLifecycle

/// Makes the coming months' partitions ahead of time, on each shard, once an hour.
struct PartitionKeeper: Service {
    let database: ShardedDatabase
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                for (shard, result) in await Migrations.ensurePartitions(database) {
                    if case .failure(let error) = result {
                        logger.warning(
                            "partitions could not be made", metadata: ["shard": "\(shard.name)", "error": "\(error)"])
                    }
                }
                try? await Task.sleep(for: .seconds(3600))
            }
        }
    }
}
