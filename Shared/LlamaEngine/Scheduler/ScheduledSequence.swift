/// What the scheduler knows of one sequence.
final class ScheduledSequence {
    let id: UInt64
    let priority: RequestPriority
    /// Seconds: the arrival, later by the patience of the class. A smaller one goes first and is preempted last. It never
    /// changes, so that the order of any two sequences is the same in every step and they cannot preempt each other in turn.
    let due: Double
    /// Submission order; decides between equal `due`.
    let ordinal: UInt64

    /// Prompt and output at their longest.
    let maximumTokens: Int
    /// Whose blocks it shares.
    let scope: CacheScope

    /// Prompt and output so far.
    var tokens: [Int32]
    /// Tokens whose keys and values are in the blocks: the first `computed` of `tokens`.
    var computed = 0
    /// Physical blocks, by position.
    var table: [Int32] = []
    /// The first blocks of the table whose contents the pool's cache lists.
    var listedBlocks = 0
    /// Whether more of them can be listed; a collision of hashes ends the chain.
    var canList = true
    /// Tokens guessed to follow `tokens`, to be verified by the next step.
    var drafts: [Int32] = []
    /// Slots of the second tier that hold its blocks, by position, while it waits after a preemption; and the tokens in them.
    var swapped: (slots: [Int32], computed: Int) = ([], 0)
    var isRunning = false
    /// Was running before: it has its place, the queue's bound is not about it.
    var wasPreempted = false

    /// The hashes of the chain up to each full block of `tokens` that was asked for.
    private var hashes: [UInt64] = []

    init(
        id: UInt64, priority: RequestPriority, due: Double, ordinal: UInt64, tokens: [Int32], maximumTokens: Int,
        scope: CacheScope
    ) {
        self.id = id
        self.priority = priority
        self.due = due
        self.ordinal = ordinal
        self.tokens = tokens
        self.maximumTokens = maximumTokens
        self.scope = scope
    }

    /// Tokens to compute before the next can be sampled; 1 is a decode.
    var remaining: Int { tokens.count - computed }
    /// Blocks that the tokens known so far still need.
    var missingBlocks: Int { max(0, BlockPool.blocks(forTokens: tokens.count) - table.count) }

    /// The tokens of the full block at `index`.
    func blockTokens(_ index: Int) -> ArraySlice<Int32> {
        tokens[index * BlockPool.blockSize..<(index + 1) * BlockPool.blockSize]
    }

    /// The hash of the chain up to the full block at `index`. Tokens are only ever appended, so each is computed once.
    func hash(ofBlock index: Int, _ cache: PrefixCache) -> UInt64 {
        while hashes.count <= index {
            let previous = hashes.last ?? cache.rootHash(scope)
            hashes.append(cache.hash(after: previous, blockTokens(hashes.count)))
        }
        return hashes[index]
    }

    /// Whether this sequence goes before the other and is preempted after it.
    func precedes(_ other: ScheduledSequence) -> Bool {
        (due, ordinal) < (other.due, other.ordinal)
    }
}
