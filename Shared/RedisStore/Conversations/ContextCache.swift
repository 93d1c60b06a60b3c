import ChatCore
import Foundation
import ServiceKit

/// The newest ended turns of a conversation, compressed, so that a prompt is built without a look into the shard.
///
/// Hash `context:{conversation}`: field = the turn's number in the conversation and its id (`<16 digits>:<id>`), value =
/// four bytes of the unpacked size, then the deflated JSON. Other fields: `complete` says that every ended turn is in it, up
/// to the bounds; `system` is the newest system message behind its turn's name, which outlives the bounds; `bytes` is the sum
/// of the unpacked sizes; `dropped` is the newest turn that the bounds drove out. A field of another form is of a release
/// that ordered turns by their ids: until the shard is asked again, the cache is not complete.
public struct ContextCache: Sendable {
    /// The latest turns that are kept of a conversation.
    public static let maximumTurns = 256

    /// Their unpacked bytes, together: a million tokens of usual text. Older turns are in no prompt, since planning leaves
    /// out the oldest turns first; and a reader holds as much of one conversation in memory, not more.
    public static let maximumBytes = 4 << 20

    /// An ended turn. One that prompts do not show (it failed, or has no text) has no message and an empty response; it is
    /// kept for its system message, and so that the conversation is known.
    public struct Entry: Sendable, Equatable {
        public let turn: TurnID
        /// The turn's number in its conversation.
        public let position: Int64
        public let system: String?
        public let message: String
        public let response: String

        /// - Parameter position: by default the time in the turn's id.
        public init(turn: TurnID, position: Int64? = nil, system: String?, message: String, response: String) {
            self.turn = turn
            self.position = position ?? Int64(clamping: turn.milliseconds) * 1000
            self.system = system
            self.message = message
            self.response = response
        }
    }

    private struct Form: Codable {
        static let formatVersion = 1

        /// Nil is 1. Another one makes the entry unreadable, and the shard is asked.
        var version: Int?
        let system: String?
        let message: String
        let response: String
    }

    /// What the script is given of an entry.
    private struct Stored {
        let name: Name
        let value: [UInt8]
        /// A system message to be in force, and the turn that brought it.
        var system: (name: Name, text: String)?
    }

    /// A turn's field. As texts they sort like the turns.
    private struct Name: CustomStringConvertible {
        let position: Int64
        let turn: TurnID

        init(_ entry: Entry) { (position, turn) = (entry.position, entry.turn) }

        init?(_ text: String) {
            let parts = text.split(separator: ":")
            guard parts.count == 2, parts[0].utf8.count == Name.digits, let position = Int64(parts[0]),
                let turn = TurnID(String(parts[1]))
            else { return nil }
            (self.position, self.turn) = (position, turn)
        }

        /// Of every position.
        static let digits = 16
        static let characters = digits + 37

        var description: String {
            let digits = String(min(max(position, 0), ConversationPosition.range.upperBound))
            return String(repeating: "0", count: Name.digits - digits.utf8.count) + digits + ":\(turn)"
        }
    }

    private let pool: RedisPool
    private let lifetime: Duration
    /// Compression and JSON of a whole history take long.
    private let work: WorkPool

    /// - Parameter lifetime: time that a conversation stays after its last use.
    public init(pool: RedisPool, lifetime: Duration = .seconds(3600), work: WorkPool = .shared) {
        self.pool = pool
        self.lifetime = lifetime
        self.work = work
    }

    /// The newest entries, as many as the bound allows, in the order of their turns; and whether all of the
    /// conversation's ended turns are among them, up to the bounds. nil when there is nothing.
    ///
    /// An entry that cannot be read is left out and makes it incomplete. The first that the bound does not allow comes
    /// with its id alone. The oldest entry carries the system message in force when none of them brought one.
    /// - Parameter maximumBytes: of all entries, unpacked; at most `ContextCache.maximumBytes`.
    public func load(
        _ conversation: ConversationKey, maximumBytes: Int = ContextCache.maximumBytes
    ) async throws(RedisError) -> (entries: [Entry], complete: Bool)? {
        let room = min(max(maximumBytes, 0), Self.maximumBytes)
        let reply = try await pool.run(
            Self.look, keys: [key(conversation)],
            arguments: [.integer(lifetime.milliseconds), .integer(Int64(room))])
        guard let parts = reply.array else { throw .unexpectedReply("a context: \(reply.summary)") }
        guard !parts.isEmpty else { return nil }
        guard parts.count >= 3 else { throw .unexpectedReply("a context: \(reply.summary)") }
        let bytes = parts.reduce(0) { $0 + ($1.data?.count ?? 0) }
        // About twice as much when it is unpacked.
        return try await work.compute(bytes: 2 * bytes) { ticket in try Self.read(parts, room: room, ticket) }
    }

    private static func read(
        _ parts: [RedisValue], room: Int, _ ticket: WorkPool.Ticket
    ) throws -> (entries: [Entry], complete: Bool) {
        var room = room
        var entries: [Entry] = []
        var isWhole = true
        for index in stride(from: 3, to: parts.count - 1, by: 2) {
            try ticket.check()
            if let name = parts[index].text.flatMap({ Name($0) }), let packed = parts[index + 1].data,
                let unpacked = Deflate.unpack(packed, upTo: room),
                let stored = try? JSONDecoder().decode(Form.self, from: Data(unpacked)),
                stored.version ?? 1 == Form.formatVersion
            {
                room -= unpacked.count
                entries.append(
                    Entry(
                        turn: name.turn, position: name.position, system: stored.system, message: stored.message,
                        response: stored.response))
            } else {
                isWhole = false
            }
        }
        if let rest = parts[2].text.flatMap({ Name($0) }) {
            entries.append(Entry(turn: rest.turn, position: rest.position, system: nil, message: "", response: ""))
        }
        entries.sort { $0.isBefore($1) }
        if let oldest = entries.first, entries.allSatisfy({ $0.system == nil }) {
            let system = parts[1].text.flatMap { $0.isEmpty ? nil : String($0.dropFirst(systemPrefixLength)) }
            entries[0] = Entry(
                turn: oldest.turn, position: oldest.position, system: system, message: oldest.message,
                response: oldest.response)
        }
        return (entries, isWhole && parts[0].text == "1")
    }

    /// Adds an ended turn; a turn that is there already, or that the bounds have driven out, stays as it is. The oldest
    /// turns go while there are more than `maximumTurns` or, unpacked, more than `maximumBytes`.
    /// - Parameter beginsConversation: there is nothing before it, so the cache is complete.
    public func append(
        _ conversation: ConversationKey, entry: Entry, beginsConversation: Bool
    ) async throws(RedisError) {
        let name = Name(entry)
        let stored = Stored(
            name: name, value: try await packed([entry])[0].value, system: entry.system.map { (name, $0) })
        try await write(conversation, [stored], isComplete: beginsConversation, replaces: false)
    }

    /// Puts in what the shard holds, in place of what is there for these turns, and marks the cache complete.
    public func fill(_ conversation: ConversationKey, entries: [Entry]) async throws(RedisError) {
        let newestFirst = entries.sorted { $1.isBefore($0) }
        var latest: [Stored] = []
        var room = Self.maximumBytes
        // The first that passes the bound goes again at once, unless it is the newest, which a reader has to know of.
        let newest = Array(newestFirst.prefix(Self.maximumTurns))
        for (entry, (value, size)) in zip(newest, try await packed(newest)) where room >= 0 {
            latest.append(Stored(name: Name(entry), value: value))
            room -= size
        }
        // The system message in force may be of a turn that is left out.
        if !latest.isEmpty, let bringer = newestFirst.first(where: { $0.system != nil }), let system = bringer.system {
            latest[0].system = (Name(bringer), system)
        }
        try await write(conversation, latest.reversed(), isComplete: true, replaces: true)
    }

    public func exists(_ conversation: ConversationKey) async throws(RedisError) -> Bool {
        try await pool.send("EXISTS", .text(key(conversation))).int == 1
    }

    /// Removes everything of a conversation (erasure, or a cache found to be wrong).
    public func remove(_ conversation: ConversationKey) async throws(RedisError) {
        _ = try await pool.send("DEL", .text(key(conversation)))
    }

    private func write(
        _ conversation: ConversationKey, _ entries: [Stored], isComplete: Bool, replaces: Bool
    ) async throws(RedisError) {
        var arguments: [RedisArgument] = [
            .integer(lifetime.milliseconds), .integer(Int64(Self.maximumTurns)), .integer(Int64(Self.maximumBytes)),
            replaces ? 1 : 0, isComplete ? 1 : 0,
        ]
        for entry in entries {
            let system = entry.system.map { "\($0.name) \($0.text)" } ?? ""
            arguments += [.text(entry.name.description), .bytes(entry.value), .text(system)]
        }
        _ = try await pool.run(Self.store, keys: [key(conversation)], arguments: arguments)
    }

    /// An entry as it is stored, and its unpacked size. One that alone passes the bound is its size and nothing else: no
    /// prompt would hold it, nor anything before it.
    private static func packed(_ entry: Entry) -> (value: [UInt8], size: Int) {
        let stored = Form(
            version: Form.formatVersion, system: entry.system, message: entry.message, response: entry.response)
        // Texts can always be written as JSON.
        let json = (try? JSONEncoder().encode(stored)).map(Array.init) ?? []
        if json.count <= maximumBytes, let value = Deflate.pack(json) { return (value, json.count) }
        return (Deflate.header(max(json.count, maximumBytes + 1)), json.count)
    }

    private func key(_ conversation: ConversationKey) -> String { "context:{\(conversation.storageName)}" }

    private func packed(_ entries: [Entry]) async throws(RedisError) -> [(value: [UInt8], size: Int)] {
        let bytes = entries.reduce(0) {
            $0 + $1.message.utf8.count + $1.response.utf8.count + ($1.system?.utf8.count ?? 0)
        }
        return try await work.compute(bytes: bytes) { ticket in
            try entries.map { entry in
                try ticket.check()
                return Self.packed(entry)
            }
        }
    }

    /// A turn's name and a space.
    private static let systemPrefixLength = Name.characters + 1

    /// The names of all turns, oldest first, and fields of another form. And what a value counts for: the size that it says,
    /// or its own when that is more.
    private static let turns = """
        local function turns()
          local names, others = {}, {}
          for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
            if #field == \(Name.characters) then names[#names + 1] = field
            elseif field ~= 'complete' and field ~= 'system' and field ~= 'bytes' and field ~= 'dropped' then
              others[#others + 1] = field
            end
          end
          table.sort(names)
          return names, others
        end
        local function size(value)
          if #value < 4 then return #value end
          local a, b, c, d = string.byte(value, 1, 4)
          local size = a + 256 * b + 65536 * c + 16777216 * d
          -- Only what says no more than its size may pass the bound; all else is found unreadable when it is read.
          if size > \(maximumBytes) and #value > 4 then return #value end
          return math.max(#value, size)
        end

        """

    /// ARGV: lifetime, bound of bytes. Gives `complete`, `system`, the newest turn that the bound leaves out, and then name
    /// and value of each that it does not.
    private static let look = RedisScript(
        RedisRefusal.lua + turns + """
            if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
            refused(redis.pcall('PEXPIRE', KEYS[1], ARGV[1]))
            local fields = redis.call('HMGET', KEYS[1], 'complete', 'system')
            local found = {fields[1] or '', fields[2] or '', ''}
            local room = tonumber(ARGV[2])
            local names, others = turns()
            if #others > 0 then found[1] = '' end
            for i = #names, 1, -1 do
              local value = redis.call('HGET', KEYS[1], names[i])
              room = room - size(value)
              if room < 0 then
                found[3] = names[i]
                break
              end
              found[#found + 1] = names[i]
              found[#found + 1] = value
            end
            return found
            """, effect: .reads)

    /// ARGV: lifetime, bounds of turns and of bytes, replaces, complete, then name, value and system message (behind its name;
    /// empty for none) for each. A hash without its sum of bytes is of a form that had no such bound, and goes.
    private static let store = RedisScript(
        turns + """
            local kept = redis.call('HMGET', KEYS[1], 'bytes', 'system', 'dropped')
            if not kept[1] then
              redis.call('DEL', KEYS[1])
              kept = {0, false, false}
            end
            local bytes, system, dropped = tonumber(kept[1]), kept[2] or '', kept[3] or ''
            if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'complete', 1) end
            if ARGV[4] == '1' then
              local _, others = turns()
              for _, field in ipairs(others) do redis.call('HDEL', KEYS[1], field) end
            end
            for i = 6, #ARGV, 3 do
              local old = redis.call('HGET', KEYS[1], ARGV[i])
              if ARGV[i] > dropped and (ARGV[4] == '1' or not old) then
                redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
                bytes = bytes + size(ARGV[i + 1]) - (old and size(old) or 0)
                local brought = ARGV[i + 2]
                if brought ~= '' and string.sub(brought, 1, \(Name.characters)) >= string.sub(system, 1, \(Name.characters)) then system = brought end
              end
            end
            if system ~= '' then redis.call('HSET', KEYS[1], 'system', system) end
            -- The oldest go. What says no more than its size stays while it is the newest: the turn is known then.
            local most, room = tonumber(ARGV[2]), tonumber(ARGV[3])
            if bytes > room or redis.call('HLEN', KEYS[1]) > most then
              local names = turns()
              for i, name in ipairs(names) do
                local left = #names - i + 1
                if left == 1 or left <= most and bytes <= room then break end
                bytes = bytes - size(redis.call('HGET', KEYS[1], name))
                redis.call('HDEL', KEYS[1], name)
                dropped = name
              end
              if dropped ~= '' then redis.call('HSET', KEYS[1], 'dropped', dropped) end
            end
            redis.call('HSET', KEYS[1], 'bytes', string.format('%.0f', bytes))
            redis.call('PEXPIRE', KEYS[1], ARGV[1])
            return 1
            """)
}

extension ContextCache.Entry {
    /// Whether its turn joined the conversation before the other's.
    fileprivate func isBefore(_ other: ContextCache.Entry) -> Bool {
        (position, turn) < (other.position, other.turn)
    }

    /// Whether its turn joined the conversation before that one.
    public func isBefore(_ other: Turn) -> Bool { (position, turn) < (other.position, other.id) }
}
