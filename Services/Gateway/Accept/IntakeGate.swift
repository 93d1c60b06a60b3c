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

    /// How long a client of a full queue is told to wait.
    private static let retryAfter: Duration = .seconds(5)

    /// Whether what ends is stored in the user's shard, as far as is known: what a conversation's history needs that is not
    /// cached.
    func stores(outcomesOf owner: UserKey) -> Bool { database.shard(for: owner).pool.takesWrites }

    /// - Throws: `APIError` 503 while the broker is away or takes no messages, while Redis or the queue of the turn's kind is
    ///   full, or the user's shard has too much to settle.
    func check(_ owner: UserKey, _ kind: Turn.Kind) throws(APIError) {
        guard !redis.isFull else {
            throw .backlogged("Redis is nearly full", retryAfter: RedisRoom.retryAfter)
        }
        guard publisher.takesMessages else { throw .unavailable("the message broker") }
        guard !publisher.isRefused(by: Topology.queue(for: kind)) else {
            throw .backlogged("too many turns of this kind wait", retryAfter: IntakeGate.retryAfter)
        }
        let shard = database.shard(for: owner).name
        guard backlog.messages(of: shard) < backlogLimit else {
            throw .backlogged(
                "too many ended turns wait for the user's shard", retryAfter: ResponseBacklog.retryAfter)
        }
    }
}
