/// What one step computes.
struct StepPlan {
    /// Consecutive rows of one sequence.
    struct Work {
        let sequence: ScheduledSequence
        /// Position of the first row.
        let start: Int
        let count: Int
        /// Whether the last row's logits give the sequence's next token.
        var wantsLogits: Bool { start + count == sequence.tokens.count }
    }

    /// Block contents to copy before the step writes.
    var copies: [BlockCopy] = []
    /// Decodes first.
    var work: [Work] = []
    var decodeRows = 0
    var prefillRows = 0
    /// Sequences that lost their blocks in this step, to be computed again.
    var preempted: [UInt64] = []

    var rows: Int { decodeRows + prefillRows }
    var isEmpty: Bool { work.isEmpty }

    /// Writes the plan's rows into the batch.
    func fill(_ batch: inout StepBatch) {
        batch.removeAll()
        for item in work {
            let blocks = BlockPool.blocks(forTokens: item.start + item.count)
            batch.beginSequence(blockTable: item.sequence.table.prefix(blocks))
            for position in item.start..<item.start + item.count {
                batch.append(
                    token: item.sequence.tokens[position], position: Int32(position),
                    wantsLogits: position == item.sequence.tokens.count - 1)
            }
        }
    }
}
