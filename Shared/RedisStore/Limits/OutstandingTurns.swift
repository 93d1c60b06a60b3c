import ChatCore

/// The unfinished turns of each user, counted at accept.
///
/// Sorted set `outstanding:{user}` of turn ids by deadline: what nobody released falls out there.
public struct OutstandingTurns: Sendable {
    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    /// Counts the turn unless the user has `limit` already. Taking the same turn again returns true and counts once.
    /// - Parameter deadline: Unix time in milliseconds of the Redis clock, at which the turn falls out by itself.
    public func take(
        user: UserKey, turn: TurnID, limit: Int, until deadline: Int64
    ) async throws(RedisError) -> Bool {
        try await pool.run(
            Self.script, keys: [key(user)],
            arguments: [.text(turn.description), .integer(Int64(limit)), .integer(deadline)]
        ).int == 1
    }

    /// The user's unfinished turns.
    public func count(of user: UserKey) async throws(RedisError) -> Int {
        Int(try await pool.run(Self.counting, keys: [key(user)], arguments: []).int ?? 0)
    }

    public func release(user: UserKey, turn: TurnID) async throws(RedisError) {
        _ = try await pool.send("ZREM", .text(key(user)), .text(turn.description))
    }

    private func key(_ user: UserKey) -> String { "outstanding:{\(user.ringKey)}" }

    private static let counting = RedisScript(
        LuaClock.source + """
            return redis.call('ZCOUNT', KEYS[1], '(' .. whole(now), '+inf')
            """, effect: .reads)

    private static let script = RedisScript(
        LuaClock.source + """
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
            if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
            if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
            redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
            local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
            redis.call('PEXPIREAT', KEYS[1], whole(tonumber(last)))
            return 1
            """)
}
