import ChatCore
import Foundation

/// The ended turns of a conversation, compressed, so that a prompt is built without a look into the shard.
///
/// Hash `context:{conversation}`: field = turn id, value = deflated JSON; field `complete` says that every ended turn is
/// in it, up to the bound; field `system` is the newest system message behind its turn's id, which outlives the bound.
public struct ContextCache: Sendable {
    /// The latest turns that are kept of a conversation.
    public static let maximumTurns = 256

    /// An ended turn. One that prompts do not show (it failed, or has no text) has an empty response; it is kept for its
    /// system message, and so that the conversation is known.
    public struct Entry: Sendable, Equatable {
        public let turn: TurnID
        public let system: String?
        public let message: String
        public let response: String

        public init(turn: TurnID, system: String?, message: String, response: String) {
            self.turn = turn
            self.system = system
            self.message = message
            self.response = response
        }
    }

    private struct Stored: Codable {
        let system: String?
        let message: String
        let response: String
    }

    private let pool: RedisPool
    private let lifetime: Duration

    /// - Parameter lifetime: time that a conversation stays after its last use.
    public init(pool: RedisPool, lifetime: Duration = .seconds(3600)) {
        self.pool = pool
        self.lifetime = lifetime
    }

    /// The entries in the order of their turns, and whether all of the conversation's ended turns are among them (up to
    /// `maximumTurns`); nil when there is nothing. An entry that cannot be read is left out and makes it incomplete. The
    /// oldest entry carries the system message in force when none of them brought one.
    public func load(
        _ conversation: ConversationKey
    ) async throws(RedisError) -> (entries: [Entry], complete: Bool)? {
        let reply = try await pool.run(
            Self.look, keys: [key(conversation)], arguments: [.integer(lifetime.milliseconds)])
        guard let parts = reply.array else { throw .unexpectedReply("a context: \(reply.summary)") }
        guard !parts.isEmpty else { return nil }
        var entries: [Entry] = []
        var complete = false
        var isWhole = true
        var system: String?
        for index in stride(from: 0, to: parts.count - 1, by: 2) {
            if parts[index].text == "complete" {
                complete = true
            } else if parts[index].text == "system" {
                system = parts[index + 1].text.map { String($0.dropFirst(Self.systemPrefixLength)) }
            } else if let turn = parts[index].text.flatMap({ TurnID($0) }), let packed = parts[index + 1].data,
                let stored = Deflate.unpack(packed).flatMap({ try? JSONDecoder().decode(Stored.self, from: Data($0)) })
            {
                entries.append(
                    Entry(turn: turn, system: stored.system, message: stored.message, response: stored.response))
            } else {
                isWhole = false
            }
        }
        entries.sort { $0.turn < $1.turn }
        if let oldest = entries.first, entries.allSatisfy({ $0.system == nil }) {
            entries[0] = Entry(turn: oldest.turn, system: system, message: oldest.message, response: oldest.response)
        }
        return (entries, complete && isWhole)
    }

    /// Adds an ended turn; a turn that is there already stays as it is. An entry beyond 16 MiB is not kept, and the
    /// cache is then incomplete.
    /// - Parameter beginsConversation: there is nothing before it, so the cache is complete.
    public func append(
        _ conversation: ConversationKey, entry: Entry, beginsConversation: Bool
    ) async throws(RedisError) {
        try await write(conversation, [entry], isComplete: beginsConversation, replaces: false)
    }

    /// Puts in what the shard holds, in place of what is there for these turns, and marks the cache complete.
    public func fill(_ conversation: ConversationKey, entries: [Entry]) async throws(RedisError) {
        let latest = entries.sorted { $0.turn < $1.turn }.suffix(Self.maximumTurns)
        try await write(conversation, Array(latest), isComplete: true, replaces: true)
    }

    public func exists(_ conversation: ConversationKey) async throws(RedisError) -> Bool {
        try await pool.send("EXISTS", .text(key(conversation))).int == 1
    }

    /// Removes everything of a conversation (erasure, or a cache found to be wrong).
    public func remove(_ conversation: ConversationKey) async throws(RedisError) {
        _ = try await pool.send("DEL", .text(key(conversation)))
    }

    private func write(
        _ conversation: ConversationKey, _ entries: [Entry], isComplete: Bool, replaces: Bool
    ) async throws(RedisError) {
        var arguments: [RedisArgument] = [
            .integer(lifetime.milliseconds), .integer(Int64(Self.maximumTurns)), replaces ? 1 : 0, isComplete ? 1 : 0,
        ]
        for entry in entries {
            let stored = Stored(system: entry.system, message: entry.message, response: entry.response)
            // An empty value stands for an entry too large to keep: the script drops `complete` for it.
            let packed = (try? JSONEncoder().encode(stored)).flatMap { Deflate.pack(Array($0)) }
            let system = entry.system.map { "\(entry.turn) \($0)" } ?? ""
            arguments += [.text(entry.turn.description), .bytes(packed ?? []), .text(system)]
        }
        _ = try await pool.run(Self.store, keys: [key(conversation)], arguments: arguments)
    }

    private func key(_ conversation: ConversationKey) -> String { "context:{\(conversation.storageName)}" }

    /// A turn's id and a space.
    private static let systemPrefixLength = 37

    private static let look = RedisScript(
        RedisRefusal.lua + """
            refused(redis.pcall('PEXPIRE', KEYS[1], ARGV[1]))
            return redis.call('HGETALL', KEYS[1])
            """, effect: .reads)

    /// ARGV: lifetime, bound, replaces, complete, then id, value and system message (behind its id; empty for none) for
    /// each. Ids sort by time: the smallest are the oldest, and are sought only when the bound is passed.
    private static let store = RedisScript(
        """
        local isWhole = true
        if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'complete', 1) end
        local system = redis.call('HGET', KEYS[1], 'system') or ''
        for i = 5, #ARGV, 3 do
          local isNew = true
          if ARGV[i + 1] == '' then isWhole = false
          elseif ARGV[3] == '1' then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
          else isNew = redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) == 1 end
          if isNew and ARGV[i + 2] ~= '' and ARGV[i] >= string.sub(system, 1, 36) then system = ARGV[i + 2] end
        end
        if system ~= '' then redis.call('HSET', KEYS[1], 'system', system) end
        if not isWhole then redis.call('HDEL', KEYS[1], 'complete') end
        local bound = tonumber(ARGV[2])
        if redis.call('HLEN', KEYS[1]) > bound then
          local turns = {}
          for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
            if field ~= 'complete' and field ~= 'system' then turns[#turns + 1] = field end
          end
          table.sort(turns)
          for i = 1, #turns - bound do redis.call('HDEL', KEYS[1], turns[i]) end
        end
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
        return 1
        """)
}
