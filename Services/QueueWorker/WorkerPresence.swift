import Foundation
import Logging
import PostgresStore
import RedisStore
import ServiceKit
import ServiceLifecycle

/// Shows that this worker lives, and which shards refuse what it writes, to whoever asks the gateway's health.
struct WorkerPresence: Service {
    let presence: Presence
    let shards: [ShardedDatabase.Shard]
    let logger: Logger
    private let name = "\(ProcessInfo.processInfo.hostName)-\(UInt32.random(in: .min ... .max))"

    static let kind = "queue-worker"
    private static let interval: Duration = .seconds(1)
    /// How long a beat is believed.
    private static let lifetime: Duration = .seconds(5)

    init(presence: Presence, shards: [ShardedDatabase.Shard], logger: Logger) {
        self.presence = presence
        self.shards = shards
        self.logger = logger
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do throws(RedisError) {
                    try await presence.beat(
                        kind: WorkerPresence.kind, id: name, ttl: WorkerPresence.lifetime)
                    for shard in shards where shard.pool.writes.state != .closed {
                        try await presence.beat(
                            kind: Presence.refusingShards, id: shard.name, ttl: WorkerPresence.lifetime)
                    }
                } catch {
                    logger.debug("a heartbeat was lost", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: WorkerPresence.interval)
            }
        }
        // When it fails, the last beat expires by itself.
        await Task { try? await presence.leave(kind: WorkerPresence.kind, id: name) }.value
    }
}
