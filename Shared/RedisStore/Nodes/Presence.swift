/// Which processes of a kind are alive: each beats again before its last beat expires.
///
/// Sorted set `presence:{kind}` of ids by expiry.
public struct Presence: Sendable {
    /// The kind under which queue workers name the shards that refuse what they write: nobody else writes to them, and a
    /// full disk or a missing right shows in nothing but a refused write.
    public static let refusingShards = "refusing-shard"

    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    public func beat(kind: String, id: String, ttl: Duration) async throws(RedisError) {
        _ = try await pool.run(
            Self.beat, keys: [key(kind)], arguments: [.text(id), .integer(max(1, ttl.milliseconds))])
    }

    /// Takes a process out at once, when it leaves in order.
    public func leave(kind: String, id: String) async throws(RedisError) {
        _ = try await pool.send("ZREM", .text(key(kind)), .text(id))
    }

    public func isAlive(kind: String, id: String) async throws(RedisError) -> Bool {
        try await pool.run(Self.look, keys: [key(kind)], arguments: [.text(id)]).int == 1
    }

    /// The living ids of a kind, sorted.
    public func alive(kind: String) async throws(RedisError) -> [String] {
        let reply = try await pool.run(Self.list, keys: [key(kind)], arguments: [])
        guard let ids = reply.array else { throw .unexpectedReply("who is present: \(reply.summary)") }
        return ids.compactMap(\.text).sorted()
    }

    private func key(_ kind: String) -> String { "presence:{\(kind)}" }

    /// It frees first: a server that is out of memory lets a script that has begun go on, and so the living are seen also
    /// then.
    private static let beat = RedisScript(
        LuaClock.source + """
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
            redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), ARGV[1])
            local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
            redis.call('PEXPIREAT', KEYS[1], whole(tonumber(last)))
            return 1
            """, effect: .reads)

    /// While writes are refused nobody's beats are taken, so that a beat which is over says nothing: the write makes the
    /// look fail then.
    private static let look = RedisScript(
        LuaClock.source + """
            local expiry = redis.call('ZSCORE', KEYS[1], ARGV[1])
            if expiry and tonumber(expiry) > now then return 1 end
            redis.call('ZREM', KEYS[1], ARGV[1])
            return 0
            """, effect: .reads)

    private static let list = RedisScript(
        LuaClock.source + """
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
            return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now), '+inf')
            """, effect: .reads)
}
