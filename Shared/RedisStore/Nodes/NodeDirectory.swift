import ChatCore
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
    /// Counts the announcements of this node: one that does not change is the last word of a node that is gone.
    public var beat: Int64?
    /// Milliseconds since the engine's last step while it has work; nil while it has none.
    public var stepAge: Int64?
    /// Seconds that a step takes, on average; nil before the first.
    public var stepSeconds: Double?
    /// The node is leaving: it finishes what it has and takes nothing more.
    public var isDraining: Bool?

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

    /// Slots of a KV block.
    private static let blockSlots = 16

    /// Tokens of prompt and answer that the node can hold: the model's context, or what its KV blocks hold if that is less.
    /// A node that announces no blocks has no such bound.
    public var capacity: Int {
        let context = max(contextLength, 0)
        guard totalBlocks > 0 else { return context }
        let (slots, overflow) = totalBlocks.multipliedReportingOverflow(by: NodeAnnouncement.blockSlots)
        return overflow ? context : min(context, slots)
    }
}

extension NodeAnnouncement {
    /// Whether turns of the model can run there; nil is any model.
    public func serves(_ model: String?) -> Bool { model.map { ExactName($0) == ExactName(self.model) } ?? true }
}

extension NodeAnnouncement: WireMessage {
    public func check() throws(WireError) {
        let counts = [contextLength, maximumSequences, running, waiting, freeBlocks, totalBlocks]
        guard counts.allSatisfy(WireBounds.counts.contains) else { throw WireError(field: "counts") }
        guard [startedAt, stepAge ?? 0].allSatisfy(WireBounds.times.contains) else { throw WireError(field: "times") }
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
        // The list first: it is taken also by a server that is out of memory.
        try await board.announce(node, id: node.id, ttl: ttl)
        _ = try await pool.send("SET", .text(key(node.id)), .bytes(json), "PX", lifetime)
    }

    public func withdraw(_ id: String) async throws(RedisError) {
        try await board.withdraw(id)
        _ = try await pool.send("DEL", .text(key(id)))
    }

    /// In the order of ids; one round trip. An announcement that cannot be read is left out.
    public func nodes() async throws(RedisError) -> [NodeAnnouncement] {
        try await board.all().sorted { $0.id < $1.id }
    }

    /// The nodes, and which ids of them listen on their control channel (`NodeControl`): a process that has died does
    /// not, long before its announcement expires.
    public func look() async throws(RedisError) -> (nodes: [NodeAnnouncement], listening: Set<String>) {
        let nodes = try await nodes()
        guard !nodes.isEmpty else { return ([], []) }
        let reply = try await pool.send("PUBSUB", ["NUMSUB"] + nodes.map { .text(NodeControl.channel(node: $0.id)) })
        guard let counts = reply.array, counts.count == 2 * nodes.count else {
            throw .unexpectedReply("who listens: \(reply.summary)")
        }
        let listening = nodes.indices.filter { counts[2 * $0 + 1].int ?? 0 > 0 }.map { nodes[$0].id }
        return (nodes, Set(listening))
    }

    private func key(_ id: String) -> String { "node:{\(id)}" }
}
