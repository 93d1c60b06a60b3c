/// Which processes of a kind are alive: each beats again before its last beat expires.
public struct Presence: Sendable {
    public init(pool: RedisPool) {}

    public func beat(kind: String, id: String, ttl: Duration) async throws(RedisError) { throw RedisError.notBuilt }

    public func isAlive(kind: String, id: String) async throws(RedisError) -> Bool { throw RedisError.notBuilt }

    /// The living ids of a kind, sorted.
    public func alive(kind: String) async throws(RedisError) -> [String] { throw RedisError.notBuilt }
}
