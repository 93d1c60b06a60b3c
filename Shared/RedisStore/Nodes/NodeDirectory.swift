import Foundation

/// What an inference node says about itself with every heartbeat.
public struct NodeAnnouncement: Sendable, Codable, Equatable {
    /// The node's incarnation: another one after every start.
    public let id: String
    public let model: String
    public let numericsID: String
    /// Its job queue at the broker.
    public let queue: String
    /// Tokens of the longest sequence.
    public let contextLength: Int
    public let maximumSequences: Int
    public var running: Int
    public var waiting: Int
    public var freeBlocks: Int
    public var totalBlocks: Int
    public var tokensPerSecond: Double?
    /// Unix time in milliseconds.
    public let startedAt: Int64

    public init(
        id: String, model: String, numericsID: String, queue: String, contextLength: Int, maximumSequences: Int,
        running: Int, waiting: Int, freeBlocks: Int, totalBlocks: Int, tokensPerSecond: Double?, startedAt: Int64
    ) {
        self.id = id
        self.model = model
        self.numericsID = numericsID
        self.queue = queue
        self.contextLength = contextLength
        self.maximumSequences = maximumSequences
        self.running = running
        self.waiting = waiting
        self.freeBlocks = freeBlocks
        self.totalBlocks = totalBlocks
        self.tokensPerSecond = tokensPerSecond
        self.startedAt = startedAt
    }
}

/// The nodes that are alive: each announces itself again before its announcement expires.
///
/// `node:{id}` (JSON) for whoever looks for one node, and for the list, under one hash tag, sorted set `{nodes}:expiries`
/// and hash `{nodes}:announcements`.
public struct NodeDirectory: Sendable {
    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    public func announce(_ node: NodeAnnouncement, ttl: Duration) async throws(RedisError) {
        let json: [UInt8]
        do { json = Array(try JSONEncoder().encode(node)) } catch {
            throw .unexpectedReply("an announcement that cannot be written: \(error)")
        }
        let lifetime = RedisArgument.integer(max(1, ttl.milliseconds))
        _ = try await pool.send("SET", .text(key(node.id)), .bytes(json), "PX", lifetime)
        _ = try await pool.run(
            Self.announcement, keys: Self.keys, arguments: [.text(node.id), .bytes(json), lifetime])
    }

    public func withdraw(_ id: String) async throws(RedisError) {
        _ = try await pool.run(Self.withdrawal, keys: Self.keys, arguments: [.text(id)])
        _ = try await pool.send("DEL", .text(key(id)))
    }

    /// In the order of ids; one round trip. An announcement that cannot be read is left out.
    public func nodes() async throws(RedisError) -> [NodeAnnouncement] {
        let reply = try await pool.run(Self.list, keys: Self.keys, arguments: [])
        guard let values = reply.array else { throw .unexpectedReply("the nodes: \(reply.summary)") }
        return values.compactMap { value in
            value.data.flatMap { try? JSONDecoder().decode(NodeAnnouncement.self, from: Data($0)) }
        }.sorted { $0.id < $1.id }
    }

    private func key(_ id: String) -> String { "node:{\(id)}" }

    private static let keys = ["{nodes}:expiries", "{nodes}:announcements"]

    /// Both keys stay until the last announcement expires.
    private static let announcement = RedisScript(
        LuaClock.source + """
            redis.call('ZADD', KEYS[1], whole(now + ARGV[3]), ARGV[1])
            redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
            local last = whole(tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]))
            redis.call('PEXPIREAT', KEYS[1], last)
            redis.call('PEXPIREAT', KEYS[2], last)
            return 1
            """)

    private static let withdrawal = RedisScript(
        """
        redis.call('ZREM', KEYS[1], ARGV[1])
        return redis.call('HDEL', KEYS[2], ARGV[1])
        """)

    private static let list = RedisScript(
        LuaClock.source + """
            local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 1000)
            if #dead > 0 then
              redis.call('ZREM', KEYS[1], unpack(dead))
              redis.call('HDEL', KEYS[2], unpack(dead))
            end
            return redis.call('HVALS', KEYS[2])
            """)
}
