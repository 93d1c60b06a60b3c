import ChatCore

/// The unfinished turns of a conversation in the order of acceptance; only the head runs.
///
/// Sorted set `order:{conversation}` (score: accepted at) and, so that a turn whose remover died does not block the
/// conversation for ever, `order:{conversation}:deadlines` (score: when the turn falls out).
public struct ConversationOrder: Sendable {
    /// Where the new head's turn id (text) is published when a turn leaves. A hint: whoever waits also looks again from
    /// time to time, since a head that falls out by its deadline is only noticed by looking.
    public static let channel = "conversation-head"

    /// Time after its deadline at which a turn falls out: its ending, which begins at the deadline, takes a moment.
    static let grace: Duration = .seconds(30)

    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    /// Idempotent. The turn falls out by itself `grace` after its deadline.
    /// - Returns: the conversation's head; nil when the turn is past its time and there is no other.
    @discardableResult
    public func add(_ turn: Turn) async throws(RedisError) -> TurnID? { try await join(turn).head }

    /// The same, and which unfinished turn comes right before this one.
    public func join(_ turn: Turn) async throws(RedisError) -> (head: TurnID?, predecessor: TurnID?) {
        let leaves = turn.deadline.addingReportingOverflow(ConversationOrder.grace.milliseconds)
        let reply = try await pool.run(
            Self.addition, keys: keys(turn.conversation),
            arguments: [
                .text(turn.id.description), .integer(turn.acceptedAt),
                .integer(leaves.overflow ? .max : leaves.partialValue),
            ])
        guard let parts = reply.array, parts.count == 2 else {
            throw .unexpectedReply("an order: \(reply.summary)")
        }
        return (parts[0].text.flatMap { TurnID($0) }, parts[1].text.flatMap { TurnID($0) })
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
        return [order, order + ":deadlines"]
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

    /// Both keys stay until the last of their turns falls out.
    private static let addition = RedisScript(
        head + """
            redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
            redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
            local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
            last = string.format('%.0f', tonumber(last))
            redis.call('PEXPIREAT', KEYS[1], last)
            redis.call('PEXPIREAT', KEYS[2], last)
            local first = head() or false
            local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
            if not rank or rank == 0 then return {first, false} end
            return {first, redis.call('ZRANGE', KEYS[1], rank - 1, rank - 1)[1]}
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
