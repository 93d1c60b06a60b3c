import ChatCore
import Foundation

/// What processes of one kind say about themselves, for as long as each says it again in time.
///
/// Sorted set `{name}:expiries` and hash `{name}:announcements` under one hash tag; both go with the last announcement.
struct AnnouncementBoard<Announcement: WireMessage & Sendable>: Sendable {
    private let pool: RedisPool
    private let name: String

    init(pool: RedisPool, name: String) {
        self.pool = pool
        self.name = name
    }

    func announce(_ announcement: Announcement, id: String, ttl: Duration) async throws(RedisError) {
        let json: [UInt8]
        do { json = Array(try JSONEncoder().encode(announcement)) } catch {
            throw .unexpectedReply("an announcement that cannot be written: \(error)")
        }
        _ = try await pool.run(
            AnnouncementScripts.announce, keys: keys,
            arguments: [.text(id), .bytes(json), .integer(max(1, ttl.milliseconds))])
    }

    func withdraw(_ id: String) async throws(RedisError) {
        _ = try await pool.run(AnnouncementScripts.withdraw, keys: keys, arguments: [.text(id)])
    }

    /// In no order; one round trip. An announcement that cannot be read is left out.
    func all() async throws(RedisError) -> [Announcement] {
        let reply = try await pool.run(AnnouncementScripts.list, keys: keys, arguments: [])
        guard let values = reply.array else { throw .unexpectedReply("\(name): \(reply.summary)") }
        return values.compactMap { value in
            value.data.flatMap { try? Announcement(message: $0) }
        }
    }

    private var keys: [String] { ["{\(name)}:expiries", "{\(name)}:announcements"] }
}

/// KEYS: 1 the expiries, 2 the announcements.
private enum AnnouncementScripts {
    /// ARGV: id, announcement, lifetime in ms. Both keys stay until the last announcement expires. It begins with a write
    /// that frees, as `Presence.beat` does.
    static let announce = RedisScript(
        LuaClock.source + """
            redis.call('ZREM', KEYS[1], '')
            redis.call('ZADD', KEYS[1], whole(now + ARGV[3]), ARGV[1])
            redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
            local last = whole(tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]))
            redis.call('PEXPIREAT', KEYS[1], last)
            redis.call('PEXPIREAT', KEYS[2], last)
            return 1
            """, effect: .reads)

    static let withdraw = RedisScript(
        """
        redis.call('ZREM', KEYS[1], ARGV[1])
        return redis.call('HDEL', KEYS[2], ARGV[1])
        """, effect: .reads)

    /// Fails while writes are refused and an announcement is over: it may be that its sender lives and is not heard.
    static let list = RedisScript(
        LuaClock.source + """
            local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 1000)
            if #dead > 0 then
              redis.call('ZREM', KEYS[1], unpack(dead))
              redis.call('HDEL', KEYS[2], unpack(dead))
            end
            return redis.call('HVALS', KEYS[2])
            """, effect: .reads)
}
