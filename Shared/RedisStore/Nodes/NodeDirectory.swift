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
/// `node:{id}` (JSON) for whoever looks for one node, and for the list sorted set `{nodes}:expiries` and hash
/// `{nodes}:announcements`.
public struct NodeDirectory: Sendable {
    private let pool: RedisPool
    private let board: AnnouncementBoard<NodeAnnouncement>

    public init(pool: RedisPool) {
        self.pool = pool
        board = AnnouncementBoard(pool: pool, name: "nodes")
    }

    public func announce(_ node: NodeAnnouncement, ttl: Duration) async throws(RedisError) {
        let json: [UInt8]
        do { json = Array(try JSONEncoder().encode(node)) } catch {
            throw .unexpectedReply("an announcement that cannot be written: \(error)")
        }
        let lifetime = RedisArgument.integer(max(1, ttl.milliseconds))
        _ = try await pool.send("SET", .text(key(node.id)), .bytes(json), "PX", lifetime)
        try await board.announce(node, id: node.id, ttl: ttl)
    }

    public func withdraw(_ id: String) async throws(RedisError) {
        try await board.withdraw(id)
        _ = try await pool.send("DEL", .text(key(id)))
    }

    /// In the order of ids; one round trip. An announcement that cannot be read is left out.
    public func nodes() async throws(RedisError) -> [NodeAnnouncement] {
        try await board.all().sorted { $0.id < $1.id }
    }

    private func key(_ id: String) -> String { "node:{\(id)}" }
}
