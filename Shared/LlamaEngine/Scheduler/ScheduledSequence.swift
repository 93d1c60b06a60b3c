/// What the scheduler knows of one sequence.
final class ScheduledSequence {
    let id: UInt64
    let priority: RequestPriority
    /// Seconds: the arrival, later by the patience of the class. A smaller one goes first and is preempted last. It never
    /// changes, so that the order of any two sequences is the same in every step and they cannot preempt each other in turn.
    let due: Double
    /// Submission order; decides between equal `due`.
    let ordinal: UInt64

    /// Prompt and output so far.
    var tokens: [Int32]
    /// Tokens whose keys and values are in the blocks: the first `computed` of `tokens`.
    var computed = 0
    /// Physical blocks, by position.
    var table: [Int32] = []
    var isRunning = false
    /// Was running before: it has its place, the queue's bound is not about it.
    var wasPreempted = false

    init(id: UInt64, priority: RequestPriority, due: Double, ordinal: UInt64, tokens: [Int32]) {
        self.id = id
        self.priority = priority
        self.due = due
        self.ordinal = ordinal
        self.tokens = tokens
    }

    /// Tokens to compute before the next can be sampled; 1 is a decode.
    var remaining: Int { tokens.count - computed }
    /// Blocks that the tokens known so far still need.
    var missingBlocks: Int { max(0, BlockPool.blocks(forTokens: tokens.count) - table.count) }

    /// Whether this sequence goes before the other and is preempted after it.
    func precedes(_ other: ScheduledSequence) -> Bool {
        (due, ordinal) < (other.due, other.ordinal)
    }
}
