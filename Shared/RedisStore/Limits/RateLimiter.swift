/// An exact sliding window: no interval of the window's length ever holds more than the limit.
///
/// List `limit:{name}` of the moments (µs of the server's clock) of the requests let through, oldest first: never more
/// than the limit.
public struct RateLimiter: Sendable {
    public enum Decision: Sendable, Equatable {
        case allowed(remaining: Int)
        /// The time until a request would be allowed.
        case refused(retryAfter: Duration)
    }

    private let pool: RedisPool
    private let window: Duration

    public init(pool: RedisPool, window: Duration = .seconds(60)) {
        self.pool = pool
        self.window = window
    }

    /// - Parameters:
    ///   - name: what is limited, such as `chat:<key>:<user>`.
    ///   - limit: requests in a window; none is ever allowed with 0.
    public func take(_ name: String, limit: Int) async throws(RedisError) -> Decision {
        guard limit > 0 else { return .refused(retryAfter: window) }
        let reply = try await pool.run(
            Self.script, keys: ["limit:{\(name)}"],
            arguments: [.integer(window.milliseconds), .integer(Int64(limit))])
        guard let parts = reply.array, parts.count == 2, let allowed = parts[0].int, let number = parts[1].int else {
            throw .unexpectedReply("a limit: \(reply.summary)")
        }
        return allowed == 1 ? .allowed(remaining: Int(number)) : .refused(retryAfter: .microseconds(number))
    }

    /// ARGV: window in ms, limit. A limit that was lowered counts from the end of a list that is longer. Moments that are
    /// yet to come, since the clock was set back, count as now: nobody waits longer than a window.
    private static let script = RedisScript(
        LuaClock.source + """
            local window = ARGV[1] * 1000
            local limit = tonumber(ARGV[2])
            local place = -1
            local newest = redis.call('LINDEX', KEYS[1], place)
            while newest and tonumber(newest) > micros do
              redis.call('LSET', KEYS[1], place, whole(micros))
              place = place - 1
              newest = redis.call('LINDEX', KEYS[1], place)
            end
            local oldest = redis.call('LINDEX', KEYS[1], 0)
            while oldest and tonumber(oldest) <= micros - window do
              redis.call('LPOP', KEYS[1])
              oldest = redis.call('LINDEX', KEYS[1], 0)
            end
            local count = redis.call('LLEN', KEYS[1])
            if count >= limit then
              return {0, math.max(1, redis.call('LINDEX', KEYS[1], -limit) + window - micros)}
            end
            redis.call('RPUSH', KEYS[1], whole(micros))
            redis.call('PEXPIRE', KEYS[1], ARGV[1])
            return {1, limit - count - 1}
            """)
}
