import ChatCore
import ServiceKit

/// The unfinished turns of each user, and of each tenant with their bytes, counted at accept.
///
/// Sorted sets of turn ids by deadline: `outstanding:{tenant}:user:<user>` and `outstanding:{tenant}:turns`, and beside
/// them the hash `outstanding:{tenant}:bytes` (turn id to bytes; their `count` and `sum`; `last`, the minute after the last
/// deadline). What nobody released counts to its deadline, and goes when its place is wanted.
public struct OutstandingTurns: Sendable {
    public struct Limits: Sendable {
        public let turnsPerUser: Int
        public let turnsPerTenant: Int
        /// Of the turns' messages as they are queued. One turn is let through whatever it has.
        public let bytesPerTenant: Int

        public init(turnsPerUser: Int, turnsPerTenant: Int, bytesPerTenant: Int) {
            self.turnsPerUser = turnsPerUser
            self.turnsPerTenant = turnsPerTenant
            self.bytesPerTenant = bytesPerTenant
        }

        public init(_ settings: Settings) throws {
            turnsPerUser = try settings(Settings.maxOutstanding)
            turnsPerTenant = try settings(Settings.maxOutstandingTenant)
            bytesPerTenant = try settings(Settings.maxOutstandingTenantBytes)
        }
    }

    /// The limit that a turn would have passed.
    public enum Limit: Sendable, Equatable, CustomStringConvertible {
        case turnsOfUser(Int)
        case turnsOfTenant(Int)
        case bytesOfTenant(Int)

        public var description: String {
            switch self {
            case .turnsOfUser(let limit): "the user has \(limit) unfinished turns"
            case .turnsOfTenant(let limit): "the tenant has \(limit) unfinished turns"
            case .bytesOfTenant(let limit): "the tenant's unfinished turns would have more than \(limit) bytes"
            }
        }
    }

    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    /// Counts the turn, for its user and for its tenant, until its deadline. Taking the same turn again counts once.
    /// - Parameter bytes: of its message.
    /// - Returns: the limit that it would pass, nil when it is counted. A refusal counts nothing.
    public func take(_ turn: Turn, bytes: Int, limits: Limits) async throws(RedisError) -> Limit? {
        try Self.passed(try await pool.run(taking(turn, bytes: bytes, limits: limits)), limits)
    }

    func taking(_ turn: Turn, bytes: Int, limits: Limits) -> ScriptCall {
        ScriptCall(
            script: Self.taking, keys: keys(turn.conversation.owner),
            arguments: [
                .text(turn.id.description), .integer(turn.deadline), .integer(Int64(limits.turnsPerUser)),
                .integer(Int64(limits.turnsPerTenant)), .integer(Int64(bytes)),
                .integer(Int64(limits.bytesPerTenant)),
            ])
    }

    /// Reads the reply to `taking`.
    static func passed(_ reply: RedisValue, _ limits: Limits) throws(RedisError) -> Limit? {
        switch reply.text {
        case "taken": nil
        case "user": .turnsOfUser(limits.turnsPerUser)
        case "turns": .turnsOfTenant(limits.turnsPerTenant)
        case "bytes": .bytesOfTenant(limits.bytesPerTenant)
        default: throw .unexpectedReply("unfinished turns: \(reply.summary)")
        }
    }

    /// The user's unfinished turns.
    public func count(of user: UserKey) async throws(RedisError) -> Int {
        Int(try await pool.run(Self.counting, keys: [keys(user)[0]], arguments: []).int ?? 0)
    }

    /// What the tenant's unfinished turns have together.
    public func bytes(of tenant: String) async throws(RedisError) -> Int {
        Int(try await pool.send("HGET", .text(name(tenant) + ":bytes"), "sum").int ?? 0)
    }

    /// Takes the turn from both counts. Idempotent.
    public func release(_ turn: Turn) async throws(RedisError) {
        _ = try await pool.run(
            Self.releasing, keys: keys(turn.conversation.owner), arguments: [.text(turn.id.description)])
    }

    private func name(_ tenant: String) -> String { "outstanding:{\(HashTag.tenant(tenant))}" }

    private func keys(_ owner: UserKey) -> [String] {
        let name = name(owner.tenant)
        return ["\(name):user:\(owner.user)", name + ":turns", name + ":bytes"]
    }

    private static let counting = RedisScript(
        LuaClock.source + """
            return redis.call('ZCOUNT', KEYS[1], '(' .. whole(now), '+inf')
            """, effect: .reads)

    /// ARGV: turn, deadline, limits of the user's and of the tenant's turns, bytes, limit of bytes. All keys live to the minute
    /// after the tenant's last deadline, so that most turns need not move it.
    private static let taking = RedisScript(
        LuaClock.onDemand + """
            local known = redis.call('HMGET', KEYS[3], ARGV[1], 'count', 'sum', 'last')
            if known[1] then return 'taken' end
            local limit = tonumber(ARGV[3])
            if redis.call('ZCARD', KEYS[1]) >= limit then
              redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(present()))
              if redis.call('ZCARD', KEYS[1]) >= limit then return 'user' end
            end
            local count, sum, bytes = tonumber(known[2] or 0), tonumber(known[3] or 0), tonumber(ARGV[5])
            local function passed()
              if count >= tonumber(ARGV[4]) then return 'turns' end
              if count > 0 and sum + bytes > tonumber(ARGV[6]) then return 'bytes' end
            end
            if passed() then
              local late = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(present()), 'LIMIT', 0, 1000)
              if #late > 0 then
                for _, size in ipairs(redis.call('HMGET', KEYS[3], unpack(late))) do
                  if size then count, sum = count - 1, sum - tonumber(size) end
                end
                redis.call('ZREM', KEYS[2], unpack(late))
                redis.call('HDEL', KEYS[3], unpack(late))
                redis.call('HSET', KEYS[3], 'count', whole(count), 'sum', whole(sum))
              end
              local limit = passed()
              if limit then return limit end
            end
            local deadline, last = tonumber(ARGV[2]), tonumber(known[4] or 0)
            local isLast = deadline > last
            if isLast then last = math.ceil(deadline / 60000) * 60000 end
            redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
            redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
            redis.call('HSET', KEYS[3], ARGV[1], ARGV[5], 'count', whole(count + 1), 'sum', whole(sum + bytes), 'last', whole(last))
            for i = 1, isLast and 3 or 1 do redis.call('PEXPIREAT', KEYS[i], whole(last)) end
            return 'taken'
            """)

    /// ARGV: turn.
    private static let releasing = RedisScript(
        LuaClock.format + """
            redis.call('ZREM', KEYS[1], ARGV[1])
            redis.call('ZREM', KEYS[2], ARGV[1])
            local known = redis.call('HMGET', KEYS[3], ARGV[1], 'count', 'sum')
            if not known[1] then return 0 end
            local count = tonumber(known[2]) - 1
            if count <= 0 then return redis.call('DEL', KEYS[2], KEYS[3]) end
            redis.call('HDEL', KEYS[3], ARGV[1])
            redis.call('HSET', KEYS[3], 'count', whole(count), 'sum', whole(known[3] - known[1]))
            return 1
            """, effect: .reads)
}
