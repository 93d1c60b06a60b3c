/// Named facts with an expiry, such as "this settle marker has come through".
public struct Markers: Sendable {
    public init(pool: RedisPool) {}

    public func set(_ name: String, ttl: Duration) async throws(RedisError) { throw RedisError.notBuilt }

    public func exists(_ name: String) async throws(RedisError) -> Bool { throw RedisError.notBuilt }
}
