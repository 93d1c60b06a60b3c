import ChatCore
import Logging
import ServiceKit
import ServiceLifecycle

/// All shards: who owns a user, and the directory.
public final class ShardedDatabase: Service, Sendable {
    /// One database of the ring.
    public struct Shard: Sendable {
        public let name: String
        public let pool: PostgresPool
    }

    /// In the order of the configuration.
    public let shards: [Shard]
    /// Tenants, API keys and the shard map; on the first shard.
    public let directory: PostgresPool
    private let ring: HashRing

    public init(configuration: DatabaseConfiguration, logger: Logger) throws(DatabaseError) {
        let shards = configuration.shards.map { shard in
            Shard(name: shard.name, pool: PostgresPool(shard: shard, configuration: configuration, logger: logger))
        }
        // The configuration never holds an empty list; the check keeps that knowledge in one place.
        guard let first = shards.first else { throw .badConfiguration("DATABASE_SHARDS is empty") }
        self.shards = shards
        directory = first.pool
        for shard in shards {
            MetricRegistry.process.observe(Measures.poolConnections, shard.name, "busy") { [weak pool = shard.pool] in
                Double(pool?.connections.busy ?? 0)
            }
            MetricRegistry.process.observe(Measures.poolConnections, shard.name, "idle") { [weak pool = shard.pool] in
                Double(pool?.connections.idle ?? 0)
            }
        }
        ring = HashRing(members: shards.map(\.name))
    }

    /// The shard that keeps everything of `user`.
    public func shard(for user: UserKey) -> Shard {
        shards[ring.member(for: user.ringKey) ?? 0]
    }

    public func shard(named name: String) -> Shard? {
        shards.first { $0.name == name }
    }

    /// Runs `body` on every shard at once; a shard that fails leaves the others' results as they are.
    /// - Returns: one result for each shard, in the order of ``shards``.
    public func onAll<R: Sendable>(
        _ body: @escaping @Sendable (Shard) async throws(DatabaseError) -> R
    ) async -> [(shard: Shard, result: Result<R, DatabaseError>)] {
        await withTaskGroup(of: (Int, Result<R, DatabaseError>).self) { group in
            for (index, shard) in shards.enumerated() {
                group.addTask {
                    do throws(DatabaseError) {
                        return (index, .success(try await body(shard)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var results: [(Int, Result<R, DatabaseError>)] = []
            for await result in group { results.append(result) }
            return results.sorted { $0.0 < $1.0 }.map { (shards[$0.0], $0.1) }
        }
    }

    /// Keeps all pools connected until cancellation or graceful shutdown, then closes them.
    public func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for shard in shards { group.addTask { await shard.pool.run() } }
        }
    }

    /// Closes all pools; for programs that use the database without running it as a service.
    public func close() async {
        for shard in shards { await shard.pool.close() }
    }
}
