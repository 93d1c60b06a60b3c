import ChatCore
import ServiceKit

/// What clients' Idempotency-Keys stand for, each for a day.
///
/// Two keys with one hash tag for each: hash `idempotency:{user}:<SHA-256 of the key>` (digest, turn, attempt, published;
/// `closed` and `closed:<attempt>` of attempts that certainly published nothing) and string `…:turn`, the frozen turn itself: a repeat that finds it reserved but not published publishes just that
/// turn again. The string goes when the turn is published, or at its deadline.
public struct IdempotencyKeys: Sendable {
    /// What a key stands for already.
    public struct Claim: Sendable, Equatable {
        public enum State: Sendable, Equatable {
            /// The broker has the turn.
            case published
            /// Somebody is about to publish this turn (encoded), or died before he could.
            case reserved([UInt8])
            /// It was never said to be published, and its deadline has passed.
            case lapsed
        }

        public let turn: TurnID
        public let requestDigest: String
        public let state: State
    }

    public enum Taking: Sendable, Equatable {
        /// The key stands for the proposed turn, which is to be published.
        /// - Parameter attempt: 1 for whoever came first, more for whoever does it again.
        case taken(attempt: Int)
        case standsFor(Claim)
    }

    public static let lifetime: Duration = .seconds(24 * 3600)

    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    /// What the key stands for; nil when it is free.
    public func look(_ key: String, of user: UserKey) async throws(RedisError) -> Claim? {
        let reply = try await pool.run(Self.look, keys: keys(key, user), arguments: [])
        return reply.isNull ? nil : try Claim(reply)
    }

    /// Makes the turn's key stand for it, before the turn is reserved and published.
    /// - Parameters:
    ///   - body: the turn, encoded; kept until it is published.
    ///   - lapsed: a turn that the key may be taken from.
    public func take(
        _ turn: Turn, body: [UInt8], insteadOf lapsed: TurnID? = nil
    ) async throws(RedisError) -> Taking {
        guard let idempotency = turn.idempotency else { return .taken(attempt: 1) }
        let reply = try await pool.run(
            Self.take, keys: keys(idempotency.key, turn.conversation.owner),
            arguments: [
                .text(idempotency.requestDigest), .text(turn.id.description), .bytes(body), .integer(turn.deadline),
                .integer(Self.lifetime.milliseconds), .text(lapsed?.description ?? ""),
            ])
        if let attempt = reply.int { return .taken(attempt: Int(attempt)) }
        return .standsFor(try Claim(reply))
    }

    /// Notes that the broker has the turn; writes the key anew when Redis has lost it. Idempotent.
    /// - Returns: false when the key stands for another turn.
    @discardableResult
    public func confirm(_ turn: Turn) async throws(RedisError) -> Bool {
        guard let idempotency = turn.idempotency else { return true }
        return try await pool.run(
            Self.confirm, keys: keys(idempotency.key, turn.conversation.owner),
            arguments: [
                .text(idempotency.requestDigest), .text(turn.id.description), .integer(Self.lifetime.milliseconds),
            ]
        ).int == 1
    }

    /// Says that an attempt certainly did not publish the turn. When none has, the key is free. Idempotent.
    /// - Returns: whether nobody has published the turn or is about to: its places may be taken back.
    public func release(_ turn: Turn, attempt: Int) async throws(RedisError) -> Bool {
        guard let idempotency = turn.idempotency else { return true }
        return try await pool.run(
            Self.release, keys: keys(idempotency.key, turn.conversation.owner),
            arguments: [.text(turn.id.description), .integer(Int64(attempt))]
        ).int == 1
    }

    private func keys(_ key: String, _ user: UserKey) -> [String] {
        // Its digest: the text is the client's, and with its fixed length no choice of names and keys collides.
        var digest = FieldDigest()
        digest.add(key)
        let name = "idempotency:{\(user.ringKey)}:\(digest.hexadecimal())"
        return [name, name + ":turn"]
    }

    private static let claim = """
        local function claim(found)
          return {found[1], found[2], found[3] or '', redis.call('GET', KEYS[2]) or ''}
        end

        """

    private static let look = RedisScript(
        claim + """
            local found = redis.call('HMGET', KEYS[1], 'digest', 'turn', 'published')
            if not found[2] then return false end
            return claim(found)
            """, effect: .reads)

    /// ARGV: digest, turn, body, deadline, lifetime, lapsed turn.
    private static let take = RedisScript(
        claim + """
            local found = redis.call('HMGET', KEYS[1], 'digest', 'turn', 'published')
            if found[2] and (found[3] or found[2] ~= ARGV[2] and found[2] ~= ARGV[6]) then return claim(found) end
            if found[2] ~= ARGV[2] then redis.call('DEL', KEYS[1], KEYS[2]) end
            redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'turn', ARGV[2])
            redis.call('PEXPIRE', KEYS[1], ARGV[5])
            redis.call('SET', KEYS[2], ARGV[3])
            redis.call('PEXPIREAT', KEYS[2], ARGV[4])
            return redis.call('HINCRBY', KEYS[1], 'attempt', 1)
            """)

    /// ARGV: digest, turn, lifetime.
    private static let confirm = RedisScript(
        """
        local turn = redis.call('HGET', KEYS[1], 'turn')
        if turn and turn ~= ARGV[2] then return 0 end
        redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'turn', ARGV[2], 'published', 1)
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        redis.call('DEL', KEYS[2])
        return 1
        """)

    /// Attempts of one turn that are told apart. Behind so many the turn keeps its places to its deadline.
    private static let maximumAttempts = 64

    /// ARGV: turn, attempt. A key that is gone, or stands for another turn, was freed before, and the reply was lost.
    private static let release = RedisScript(
        """
        local found = redis.call('HMGET', KEYS[1], 'turn', 'attempt', 'published')
        if found[1] ~= ARGV[1] then return 1 end
        if found[3] or tonumber(found[2]) > \(maximumAttempts) then return 0 end
        if redis.call('HSETNX', KEYS[1], 'closed:' .. ARGV[2], 1) == 1 then redis.call('HINCRBY', KEYS[1], 'closed', 1) end
        if redis.call('HGET', KEYS[1], 'closed') ~= found[2] then return 0 end
        redis.call('DEL', KEYS[1], KEYS[2])
        return 1
        """, effect: .reads)
}

extension IdempotencyKeys.Claim {
    init(_ reply: RedisValue) throws(RedisError) {
        guard let parts = reply.array, parts.count == 4, let digest = parts[0].text,
            let turn = parts[1].text.flatMap({ TurnID($0) }), let published = parts[2].text, let body = parts[3].data
        else { throw .unexpectedReply("what an idempotency key stands for: \(reply.summary)") }
        requestDigest = digest
        self.turn = turn
        state = !published.isEmpty ? .published : body.isEmpty ? .lapsed : .reserved(body)
    }
}
