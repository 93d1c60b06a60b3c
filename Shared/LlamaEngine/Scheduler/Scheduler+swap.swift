/// Blocks of preempted sequences in the second tier.
extension Scheduler {
    /// Leaves a sequence's blocks in the second tier when that is cheaper than computing them again. Only before they are released.
    ///
    /// All of them: what others share now may be evicted before the sequence comes back.
    func swapOut(_ sequence: ScheduledSequence, _ plan: inout StepPlan) {
        let blocks = BlockPool.blocks(forTokens: sequence.computed)
        let slots = swap.take(
            blocks: blocks, tokens: sequence.computed, secondsPerToken: budget.prefillRowSeconds)
        guard let slots else { return }
        for (block, slot) in zip(sequence.table, slots) { plan.moves.append(.swapOut(block: block, slot: slot)) }
        sequence.swapped = (slots, sequence.computed)
        swapOuts += 1
    }

    /// Brings back what the cache no longer has of a sequence that was just admitted: its blocks were counted as missing.
    func swapIn(_ sequence: ScheduledSequence, _ plan: inout StepPlan) {
        let (slots, computed) = sequence.swapped
        for slot in slots.dropFirst(sequence.table.count) {
            guard let block = pool.allocate() else { break }
            sequence.table.append(block)
            plan.moves.append(.swapIn(slot: slot, block: block))
        }
        // A slot given back here may be written to by a later move only: they are carried out in order.
        forgetSwapped(sequence)
        sequence.computed = max(sequence.computed, min(computed, sequence.table.count * BlockPool.blockSize))
        listComputedBlocks(sequence)
    }

    func forgetSwapped(_ sequence: ScheduledSequence) {
        swap.giveBack(sequence.swapped.slots)
        sequence.swapped = ([], 0)
    }
}
