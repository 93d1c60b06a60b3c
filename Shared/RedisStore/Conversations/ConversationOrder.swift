import ChatCore

/// The unfinished turns of a conversation in the order in which they joined it; only the head runs.
///
/// Whoever joins is given a number: the server's time in µs, or one more than the last one's. It rises whatever the clocks
/// of gateways say; when Redis was emptied, by its time; when its clock was set back, by the last number, which is kept for
/// an hour. The number is frozen in the turn, so that holders put it back in its place.
///
/// Sorted set `order:{conversation}` (score: the number, in milliseconds and thousandths: the releases before put times of
/// acceptance there) and, so that a turn whose remover died does not block the conversation for ever,
/// `order:{conversation}:deadlines` (score: when the turn falls out). Hash `order:{conversation}:last`: the last number, and
/// the turn that began the conversation.
public struct ConversationOrder: Sendable {
    /// Where the new head's turn id (text) is published when a turn leaves. A hint: whoever waits also looks again from
    /// time to time, since a head that falls out by its deadline is only noticed by looking.
    public static let channel = "conversation-head"

    /// Time after its deadline at which a turn falls out: its ending, which begins at the deadline, takes a moment.
    static let grace: Duration = .seconds(30)

    /// How long the last number is kept beyond the last joining.
    static let memory: Duration = .seconds(3600)

    /// Where a turn stands.
    public struct Place: Sendable, Equatable {
        /// The conversation's head; nil when the turn is past its time and there is no other.
        public let head: TurnID?
        /// The unfinished turn right before this one.
        public let predecessor: TurnID?
        /// The turn's number in its conversation.
        public let sequence: Int64
    }

    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    /// Puts an accepted turn into its place, where it may have been forgotten. Idempotent. The turn falls out by itself
    /// `grace` after its deadline.
    /// - Returns: the conversation's head; nil when the turn is past its time and there is no other.
    @discardableResult
    public func add(_ turn: Turn) async throws(RedisError) -> TurnID? {
        try Place(try await pool.run(joining(turn, at: turn.position)))?.head
    }

    /// Puts a turn that is being accepted at the end. A repeat finds it where it stands.
    /// - Returns: its place; nil for a turn that would begin a conversation, when another turn has begun one under its number.
    public func join(_ turn: Turn) async throws(RedisError) -> Place? { try Place(try await pool.run(joining(turn))) }

    func joining(_ turn: Turn) -> ScriptCall { joining(turn, at: turn.sequence) }

    private func joining(_ turn: Turn, at number: Int64?) -> ScriptCall {
        let leaves = turn.deadline.addingReportingOverflow(ConversationOrder.grace.milliseconds)
        return ScriptCall(
            script: Self.addition, keys: keys(turn.conversation),
            arguments: [
                .text(turn.id.description), .text(number.map { "\($0)" } ?? ""),
                .integer(leaves.overflow ? .max : leaves.partialValue), .integer(Self.memory.milliseconds),
                turn.beginsConversation ? 1 : 0,
            ])
    }

    /// Removes the turn and publishes the new head, if there is one. Idempotent.
    public func remove(_ turn: TurnID, of conversation: ConversationKey) async throws(RedisError) {
        _ = try await pool.run(
            Self.removal, keys: keys(conversation), arguments: [.text(turn.description), .text(Self.channel)])
    }

    public func head(of conversation: ConversationKey) async throws(RedisError) -> TurnID? {
        try await pool.run(Self.look, keys: keys(conversation), arguments: []).text.flatMap { TurnID($0) }
    }

    /// Whether any unfinished turn is known.
    public func exists(_ conversation: ConversationKey) async throws(RedisError) -> Bool {
        try await head(of: conversation) != nil
    }

    private func keys(_ conversation: ConversationKey) -> [String] {
        let order = "order:{\(conversation.storageName)}"
        return [order, order + ":deadlines", order + ":last"]
    }

    /// Drops what is past its deadline, then answers with the head.
    private static let head =
        LuaClock.source + """
            local function head()
              local late = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now), 'LIMIT', 0, 1000)
              if #late > 0 then
                redis.call('ZREM', KEYS[1], unpack(late))
                redis.call('ZREM', KEYS[2], unpack(late))
              end
              return redis.call('ZRANGE', KEYS[1], 0, 0)[1]
            end

            """

    /// ARGV: id, number (empty: the next one), when the turn falls out, for how long the last number is kept, whether the
    /// turn begins the conversation. Both sets stay until the last of their turns falls out. Whoever is alone, as most
    /// are, is not looked for among others.
    private static let addition = RedisScript(
        head + """
            local function number(score) return math.floor(tonumber(score) * 1000 + 0.5) end
            local known = redis.call('HMGET', KEYS[3], 'number', 'first')
            -- Where nothing was ever joined nobody waits: the last number outlives them all.
            local newest = (known[1] or ARGV[5] ~= '1') and redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
            local place = newest and redis.call('ZSCORE', KEYS[1], ARGV[1])
            if ARGV[2] ~= '' then place = tonumber(ARGV[2])
            elseif place then place = number(place)
            elseif ARGV[5] == '1' and known[2] and known[2] ~= ARGV[1] then return false
            else place = math.max(micros, (tonumber(known[1] or 0)) + 1, newest and number(newest) + 1 or 0)
            end
            local last = whole(math.max(place, tonumber(known[1] or 0)))
            if ARGV[5] == '1' and not known[2] then redis.call('HSET', KEYS[3], 'number', last, 'first', ARGV[1])
            else redis.call('HSET', KEYS[3], 'number', last)
            end
            redis.call('PEXPIREAT', KEYS[3], whole(math.max(now + ARGV[4], tonumber(ARGV[3]))))
            redis.call('ZADD', KEYS[1], string.format('%.3f', place / 1000), ARGV[1])
            redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
            local leaves = newest and redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or ARGV[3]
            leaves = string.format('%.0f', tonumber(leaves))
            redis.call('PEXPIREAT', KEYS[1], leaves)
            redis.call('PEXPIREAT', KEYS[2], leaves)
            if not newest then return {tonumber(ARGV[3]) > now and ARGV[1] or false, false, whole(place)} end
            local first = head() or false
            local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
            local before = rank and rank > 0 and redis.call('ZRANGE', KEYS[1], rank - 1, rank - 1)[1]
            return {first, before or false, whole(place)}
            """, effect: .writes)

    private static let removal = RedisScript(
        head + """
            redis.call('ZREM', KEYS[1], ARGV[1])
            redis.call('ZREM', KEYS[2], ARGV[1])
            local first = head()
            if first then redis.call('PUBLISH', ARGV[2], first) end
            return 1
            """, effect: .reads)

    private static let look = RedisScript(head + "return head() or false", effect: .reads)
}

extension ConversationOrder.Place {
    /// Reads the reply to `joining`; nil when the conversation's number is another's.
    init?(_ reply: RedisValue) throws(RedisError) {
        if reply.isNull { return nil }
        guard let parts = reply.array, parts.count == 3, let sequence = parts[2].text.flatMap({ Int64($0) }) else {
            throw .unexpectedReply("an order: \(reply.summary)")
        }
        self.init(
            head: parts[0].text.flatMap { TurnID($0) }, predecessor: parts[1].text.flatMap { TurnID($0) },
            sequence: sequence)
    }
}
