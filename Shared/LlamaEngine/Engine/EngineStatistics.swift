/// What an engine has done and holds, as of its last step. Counters run from its start.
public struct EngineStatistics: Sendable, Equatable, Codable {
    /// Sequences that hold KV blocks.
    public var running = 0
    /// Requests that wait for admission, preempted ones included.
    public var waiting = 0
    /// KV blocks without owner, those of the prefix cache included.
    public var freeBlocks = 0
    /// Blocks without owner whose contents may be used again.
    public var cachedBlocks = 0
    public var totalBlocks = 0
    /// Slots of owned blocks that no token lies in.
    public var unusedSlots = 0

    public var steps: UInt64 = 0
    /// Tokens sampled, verified tokens of resumed turns not included.
    public var tokensGenerated: UInt64 = 0
    /// Rows of prompts computed, recomputation after preemptions included.
    public var prefillRows: UInt64 = 0
    public var preemptions: UInt64 = 0
    /// Preempted sequences whose blocks went to the second tier; the others are computed again.
    public var swapOuts: UInt64 = 0
    /// Tokens of admitted requests that have a cache salt, and how many of them the prefix cache had.
    public var prefixTokensQueried: UInt64 = 0
    public var prefixTokensHit: UInt64 = 0
    /// Cached blocks whose memory was needed.
    public var blocksEvicted: UInt64 = 0
    /// Draft tokens computed, and those that were what came.
    public var draftTokens: UInt64 = 0
    public var draftTokensAccepted: UInt64 = 0
    public var finished: UInt64 = 0
    public var failed: UInt64 = 0
    /// Resumed turns whose last token came out differently; more than 0 means that the numerics contract is broken.
    public var diverged: UInt64 = 0
    /// Times that the KV blocks' books were checked whole while the engine was idle.
    public var integrityChecks: UInt64 = 0
    /// Times that they did not balance, and what was found last.
    public var integrityFaults: UInt64 = 0
    public var lastIntegrityFault: String?

    /// Moving averages over recent steps; nil before the first measurement.
    public var stepSeconds: Double?
    public var prefillTokensPerSecond: Double?
    /// All sequences of a step together.
    public var decodeTokensPerSecond: Double?

    public init() {}
}
