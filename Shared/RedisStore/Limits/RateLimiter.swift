/// Exact sliding windows: no interval of the window's length ever holds more than the limit.
///
/// List `limit:{group}:name` of the moments (µs of the server's clock) of the requests let through, oldest first: never more
/// than the limit.
public struct RateLimiter: Sendable {
    public struct Limit: Sendable, Equatable {
        /// What is limited within the group, such as `chat:<key>:<user>`.
        public let name: String
        /// Requests in a window; none is ever allowed with 0.
        public let requests: Int

        public init(name: String, requests: Int) {
            self.name = name
            self.requests = requests
        }
    }

    public enum Decision: Sendable, Equatable {
        case allowed
        /// By the first of the limits that does, and for how long it would.
        case refused(by: Limit, retryAfter: Duration)
    }

    private let pool: RedisPool
    private let window: Duration

    public init(pool: RedisPool, window: Duration = .seconds(60)) {
        self.pool = pool
        self.window = window
    }

    /// Counts a request against each of the limits, in one trip; when one of them refuses it, against none.
    /// - Parameter group: whose limits they are: their keys share it as their ``HashTag``.
    public func take(_ limits: [Limit], of group: String) async throws(RedisError) -> Decision {
        if let closed = limits.first(where: { $0.requests <= 0 }) { return .refused(by: closed, retryAfter: window) }
        guard !limits.isEmpty else { return .allowed }
        let reply = try await pool.run(
            Self.script, keys: limits.map { "limit:{\(group)}:\($0.name)" },
            arguments: [.integer(window.milliseconds)] + limits.map { .integer(Int64($0.requests)) })
        if reply.isNull { return .allowed }
        guard let parts = reply.array, parts.count == 2, let place = parts[0].count, (1...limits.count).contains(place),
            let wait = parts[1].int
        else { throw .unexpectedReply("a limit: \(reply.summary)") }
        return .refused(by: limits[place - 1], retryAfter: .microseconds(wait))
    }

    /// ARGV: window in ms, then each key's limit. The request as many places from the end as the limit decides. Moments that
    /// are yet to come, since the clock was set back, count as now: nobody waits longer than a window. A list's expiry is set
    /// once in each span of a window's length, to two windows: it outlives every moment in it by one.
    private static let script = RedisScript(
        LuaClock.source + """
            local window = ARGV[1] * 1000
            local last = {}
            for i, key in ipairs(KEYS) do
              last[i] = redis.call('LINDEX', key, -1)
              local newest, place = last[i], -1
              while newest and tonumber(newest) > micros do
                redis.call('LSET', key, place, whole(micros))
                place = place - 1
                newest = redis.call('LINDEX', key, place)
              end
              local oldest = last[i] and redis.call('LINDEX', key, -ARGV[i + 1])
              if oldest and tonumber(oldest) > micros - window then
                return {i, math.max(1, oldest + window - micros)}
              end
            end
            for i, key in ipairs(KEYS) do
              local count = redis.call('RPUSH', key, whole(micros))
              if count > tonumber(ARGV[i + 1]) then redis.call('LTRIM', key, -ARGV[i + 1], -1) end
              if not last[i] or math.floor(last[i] / window) ~= math.floor(micros / window) then
                redis.call('PEXPIRE', key, 2 * ARGV[1])
              end
            end
            return false
            """)
}
