import ChatCore
import PostgresStore
import RabbitQueue

/// What has to be there for a new turn to be accepted, asked before anything is written for it.
struct IntakeGate: Sendable {
    let publisher: RabbitPublisher
    let backlog: ResponseBacklog
    let database: ShardedDatabase
    let redis: RedisRoom
    /// Outcomes that may wait to be settled in a shard.
    let backlogLimit: Int

    /// Whether what ends is stored in the user's shard, as far as is known: what a conversation's history needs that is not
    /// cached.
    func stores(outcomesOf owner: UserKey) -> Bool { database.shard(for: owner).pool.takesWrites }

    /// - Throws: `APIError` 503 while the broker is away, Redis is nearly full, or the user's shard has too much to settle.
    func check(_ owner: UserKey) throws(APIError) {
        guard !redis.isFull else {
            throw .backlogged("Redis is nearly full", retryAfter: RedisRoom.retryAfter)
        }
        guard publisher.isConnected else { throw .unavailable("the message broker") }
        let shard = database.shard(for: owner).name
        guard backlog.messages(of: shard) < backlogLimit else {
            throw .backlogged(
                "too many ended turns wait for the user's shard", retryAfter: ResponseBacklog.retryAfter)
        }
    }
}
