/// The time that deadlines run on: Redis TIME, as one clock for all services.
public final class RedisClock: Sendable {
    /// - Parameter refresh: how long a measured difference to the local monotonic clock is used without asking again.
    public init(pool: RedisPool, refresh: Duration = .seconds(5)) {}

    /// Unix time in milliseconds. Without a round trip while the last measurement is fresh; with the old one while
    /// Redis is away.
    /// - Throws: only while Redis was never reached.
    public func now() async throws(RedisError) -> Int64 { throw RedisError.notBuilt }
}
