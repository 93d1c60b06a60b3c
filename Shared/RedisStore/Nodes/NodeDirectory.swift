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
public struct NodeDirectory: Sendable {
    public init(pool: RedisPool) {}

    public func announce(_ node: NodeAnnouncement, ttl: Duration) async throws(RedisError) { throw RedisError.notBuilt }

    public func withdraw(_ id: String) async throws(RedisError) { throw RedisError.notBuilt }

    /// In the order of ids; one round trip.
    public func nodes() async throws(RedisError) -> [NodeAnnouncement] { throw RedisError.notBuilt }
}
