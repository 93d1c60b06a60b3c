/// What one step computes.
struct StepPlan {
    /// Consecutive rows of one sequence: its own tokens, then drafts.
    struct Work {
        let sequence: ScheduledSequence
        /// Position of the first row.
        let start: Int
        let count: Int
        /// Tokens guessed to follow the sequence's own. The logits of the row before a draft say whether it was right.
        let drafts: [Int32]
        /// The last rows of the work whose logits are wanted: none when tokens are left to compute.
        let outputs: Int

        /// - Parameter end: position after the last row of the sequence's own tokens.
        init(_ sequence: ScheduledSequence, end: Int, drafts: [Int32] = []) {
            self.sequence = sequence
            start = sequence.computed
            count = end - start + drafts.count
            self.drafts = drafts
            outputs = end == sequence.tokens.count ? 1 + drafts.count : 0
        }

        /// Position after the last row of the sequence's own tokens.
        var end: Int { start + count - drafts.count }
    }

    /// Block contents to move before the step writes.
    var moves: [BlockMove] = []
    /// Decodes first.
    var work: [Work] = []
    /// Drafts included.
    var decodeRows = 0
    var draftRows = 0
    var prefillRows = 0
    /// Sequences that lost their blocks in this step, to be computed again.
    var preempted: [UInt64] = []

    var rows: Int { decodeRows + prefillRows }
    /// Decode rows that are no drafts: one for each sequence that decodes.
    var plainRows: Int { decodeRows - draftRows }
    var isEmpty: Bool { work.isEmpty }

    /// Writes the plan's rows into the batch.
    func fill(_ batch: inout StepBatch) {
        batch.removeAll()
        for item in work {
            let blocks = BlockPool.blocks(forTokens: item.start + item.count)
            batch.beginSequence(blockTable: item.sequence.table.prefix(blocks))
            for position in item.start..<item.end {
                batch.append(
                    token: item.sequence.tokens[position], position: Int32(position),
                    wantsLogits: position == item.sequence.tokens.count - 1)
            }
            for (offset, draft) in item.drafts.enumerated() {
                batch.append(token: draft, position: Int32(item.end + offset), wantsLogits: true)
            }
        }
    }
}
