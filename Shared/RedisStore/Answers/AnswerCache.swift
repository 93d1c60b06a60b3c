import ChatCore
import ServiceKit

/// Answers of deterministic turns, for identical ones of the same tenant.
///
/// Hash `cache:{tenant}` of answers by digest, with their sum of bytes in the field `bytes`, and sorted set
/// `cache:{tenant}:expiries` of the digests. Both go with the last answer. A tenant that keeps more than its bound loses
/// its oldest answers, never another's.
public struct AnswerCache: Sendable {
    /// Answers of one tenant, at most.
    public static let maximumAnswers = 10_000
    /// An answer that takes more than this share of the bound is not kept: it would drive out too many.
    private static let largestShare = 16

    private let pool: RedisPool
    private let lifetime: Duration
    private let maximumBytes: Int

    /// - Parameters:
    ///   - lifetime: time that an answer is kept, however often it is used.
    ///   - maximumBytes: of one tenant's answers.
    public init(pool: RedisPool, lifetime: Duration, maximumBytes: Int) {
        self.pool = pool
        self.lifetime = lifetime
        self.maximumBytes = maximumBytes
    }

    /// The answer under a key. One that cannot be read is none.
    public func find(_ key: String, of tenant: String) async throws(RedisError) -> CachedAnswer? {
        let reply = try await pool.run(Self.look, keys: keys(tenant), arguments: [.text(key)])
        return reply.data.flatMap { try? CachedAnswer(decoding: $0) }
    }

    /// Whether there is an answer, without fetching it.
    public func contains(_ key: String, of tenant: String) async throws(RedisError) -> Bool {
        try await pool.run(Self.presence, keys: keys(tenant), arguments: [.text(key)]).int == 1
    }

    /// Keeps an answer; one that is there stays, with its lifetime.
    /// - Returns: whether it was kept: not what is too large or has not ended by itself.
    @discardableResult
    public func keep(_ answer: CachedAnswer, under key: String, of tenant: String) async throws(RedisError) -> Bool {
        guard let bytes = answer.encoded(), bytes.count <= maximumBytes / Self.largestShare else { return false }
        return try await pool.run(
            Self.store, keys: keys(tenant),
            arguments: [
                .text(key), .bytes(bytes), .integer(lifetime.milliseconds), .integer(Int64(maximumBytes)),
                .integer(Int64(Self.maximumAnswers)),
            ]
        ).int == 1
    }

    private func keys(_ tenant: String) -> [String] {
        let name = "cache:{\(HashTag.tenant(tenant))}"
        return [name, name + ":expiries"]
    }

    /// Whether the answer of ARGV[1] is there and not past its time.
    private static let lives =
        LuaClock.source + """
            local expiry = redis.call('ZSCORE', KEYS[2], ARGV[1])
            local lives = expiry and tonumber(expiry) > now

            """

    private static let look = RedisScript(
        lives + "return lives and redis.call('HGET', KEYS[1], ARGV[1])", effect: .reads)
    private static let presence = RedisScript(lives + "return lives and 1 or 0", effect: .reads)

    /// ARGV: digest, answer, lifetime in ms, bounds of bytes and of answers.
    private static let store = RedisScript(
        lives + """
            if lives then return 1 end
            local function drop(digest)
              redis.call('HINCRBY', KEYS[1], 'bytes', -redis.call('HSTRLEN', KEYS[1], digest))
              redis.call('HDEL', KEYS[1], digest)
              redis.call('ZREM', KEYS[2], digest)
            end
            if expiry then drop(ARGV[1]) end
            for _, digest in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now), 'LIMIT', 0, 100)) do
              drop(digest)
            end
            -- The oldest go until there is room. A few at a time: a bound that was lowered is reached step by step.
            local size = #ARGV[2]
            local bytes, count = tonumber(ARGV[4]), tonumber(ARGV[5])
            local function full()
              return tonumber(redis.call('HGET', KEYS[1], 'bytes') or 0) + size > bytes
                or redis.call('ZCARD', KEYS[2]) >= count
            end
            local dropped = 0
            while full() do
              local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
              if not oldest or dropped == 200 then return 0 end
              drop(oldest)
              dropped = dropped + 1
            end
            redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
            redis.call('HINCRBY', KEYS[1], 'bytes', size)
            redis.call('ZADD', KEYS[2], whole(now + ARGV[3]), ARGV[1])
            local last = whole(tonumber(redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]))
            redis.call('PEXPIREAT', KEYS[1], last)
            redis.call('PEXPIREAT', KEYS[2], last)
            return 1
            """)
}
