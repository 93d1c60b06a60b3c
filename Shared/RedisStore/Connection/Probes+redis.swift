import ServiceKit

extension Probes {
    /// Fails while Redis refuses the process' credentials, or a command to its user.
    public static func admits(_ redis: RedisPool) -> Check {
        { redis.refusedRights.map { "redis refuses the credentials: \($0)" } }
    }
}
