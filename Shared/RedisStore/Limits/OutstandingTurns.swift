import ChatCore
import ServiceKit

/// The unfinished turns of each user, and of each tenant with their bytes, counted at accept.
///
/// Sorted sets of turn ids by deadline: `outstanding:{user}`, and `outstanding:{tenant}:tenant` with the hash
/// `outstanding:{tenant}:bytes` beside it (turn id to bytes, and their `sum`). What nobody released falls out at its
/// deadline.
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
    /// - Returns: the limit that it would pass, nil when it is counted. After a refusal `release` takes back what one of
    ///   the two has counted.
    public func take(_ turn: Turn, bytes: Int, limits: Limits) async throws(RedisError) -> Limit? {
        let owner = turn.conversation.owner
        let (ofUser, ofTenant): (RedisValue, RedisValue)
        do {
            async let user = pool.run(
                Self.taking, keys: [key(owner)],
                arguments: [
                    .text(turn.id.description), .integer(Int64(limits.turnsPerUser)), .integer(turn.deadline),
                ])
            async let tenant = pool.run(
                Self.takingOfTenant, keys: keys(tenant: owner.tenant),
                arguments: [
                    .text(turn.id.description), .integer(Int64(limits.turnsPerTenant)), .integer(turn.deadline),
                    .integer(Int64(bytes)), .integer(Int64(limits.bytesPerTenant)),
                ])
            (ofUser, ofTenant) = try await (user, tenant)
        } catch {
            throw error as? RedisError ?? .cancelled
        }
        guard ofUser.int == 1 else { return .turnsOfUser(limits.turnsPerUser) }
        return switch ofTenant.text {
        case "taken": nil
        case "turns": .turnsOfTenant(limits.turnsPerTenant)
        case "bytes": .bytesOfTenant(limits.bytesPerTenant)
        default: throw .unexpectedReply("a tenant's turns: \(ofTenant.summary)")
        }
    }

    /// The user's unfinished turns.
    public func count(of user: UserKey) async throws(RedisError) -> Int {
        Int(try await pool.run(Self.counting, keys: [key(user)], arguments: []).int ?? 0)
    }

    /// What the tenant's unfinished turns have together.
    public func bytes(of tenant: String) async throws(RedisError) -> Int {
        Int(try await pool.send("HGET", .text(keys(tenant: tenant)[1]), "sum").int ?? 0)
    }

    /// Takes the turn from both counts. Idempotent.
    public func release(_ turn: Turn) async throws(RedisError) {
        let owner = turn.conversation.owner
        do {
            async let user = pool.send("ZREM", .text(key(owner)), .text(turn.id.description))
            async let tenant = pool.run(
                Self.releaseOfTenant, keys: keys(tenant: owner.tenant), arguments: [.text(turn.id.description)])
            _ = try await (user, tenant)
        } catch {
            throw error as? RedisError ?? .cancelled
        }
    }

    private func key(_ user: UserKey) -> String { "outstanding:{\(user.ringKey)}" }

    private func keys(tenant: String) -> [String] {
        // The length keeps a tenant's name from closing the hash tag of another's.
        let name = "outstanding:{\(tenant.utf8.count):\(tenant)}"
        return [name + ":tenant", name + ":bytes"]
    }

    private static let counting = RedisScript(
        LuaClock.source + """
            return redis.call('ZCOUNT', KEYS[1], '(' .. whole(now), '+inf')
            """, effect: .reads)

    /// ARGV: turn, limit, deadline.
    private static let taking = RedisScript(
        LuaClock.source + """
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
            if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 1 end
            if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
            redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
            local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
            redis.call('PEXPIREAT', KEYS[1], whole(tonumber(last)))
            return 1
            """)

    private static let drop = """
        local function drop(turn)
          local bytes = redis.call('HGET', KEYS[2], turn)
          redis.call('ZREM', KEYS[1], turn)
          if not bytes then return end
          redis.call('HDEL', KEYS[2], turn)
          redis.call('HINCRBY', KEYS[2], 'sum', -tonumber(bytes))
          if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
        end

        """

    /// ARGV: turn, limit of turns, deadline, bytes, limit of bytes. A few of those past their time go with each call.
    private static let takingOfTenant = RedisScript(
        LuaClock.source + drop + """
            for _, turn in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 100)) do
              drop(turn)
            end
            if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 'taken' end
            local count = redis.call('ZCARD', KEYS[1])
            if count >= tonumber(ARGV[2]) then return 'turns' end
            local sum = tonumber(redis.call('HGET', KEYS[2], 'sum') or 0)
            if count > 0 and sum + tonumber(ARGV[4]) > tonumber(ARGV[5]) then return 'bytes' end
            redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
            redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
            redis.call('HINCRBY', KEYS[2], 'sum', ARGV[4])
            local last = whole(tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]))
            redis.call('PEXPIREAT', KEYS[1], last)
            redis.call('PEXPIREAT', KEYS[2], last)
            return 'taken'
            """)

    /// ARGV: turn.
    private static let releaseOfTenant = RedisScript(
        drop + """
            drop(ARGV[1])
            return 1
            """)
}
