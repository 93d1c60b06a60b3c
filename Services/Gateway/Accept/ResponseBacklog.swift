import Logging
import RabbitQueue
import ServiceKit
import ServiceLifecycle
import Synchronization

/// How many outcomes wait in each shard's response queue. A full one holds up endings, so that turns are refused before.
final class ResponseBacklog: Service {
    private static let interval: Duration = .seconds(1)
    /// A shard that was away for long has caught up with some of it then.
    static let retryAfter: Duration = .seconds(10)

    private let shards: [String]
    private let inspector: QueueInspector
    private let logger: Logger
    private let counts = Mutex<[String: Int]>([:])

    init(shards: [String], inspector: QueueInspector, logger: Logger) {
        self.shards = shards
        self.inspector = inspector
        self.logger = logger
    }

    /// As it was last seen; 0 before the first look.
    func messages(of shard: String) -> Int { counts.withLock { $0[shard] ?? 0 } }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.look()
                try? await Task.sleep(for: ResponseBacklog.interval)
            }
        }
    }

    private func look() async {
        do throws(RabbitError) {
            let statistics = try await inspector.statistics(of: shards.map { Topology.responseQueue(shard: $0) })
            counts.withLock { counts in
                for shard in shards {
                    counts[shard] = statistics[Topology.responseQueue(shard: shard)]?.messages ?? 0
                }
            }
        } catch {
            // Without the broker no turn is accepted anyway.
            logger.debug("the response queues cannot be counted", metadata: ["error": "\(error)"])
        }
    }
}
