extension Scheduler {
    /// The next step; empty only when no sequence is left.
    func plan() -> StepPlan {
        var plan = StepPlan()
        admit(&plan)
        planDecodes(&plan)
        planPrefills(&plan)
        // Blocks are promised at admission, so a step with running sequences and no row does not happen; should it ever, blocks
        // change hands until the sequence due first has enough.
        while plan.isEmpty, running.count > 1, let last = lastDue(running) {
            preempt(last, &plan)
            planDecodes(&plan)
            planPrefills(&plan)
        }
        return plan
    }

    /// Moves waiting sequences to the running ones while there is room for all that they and the running ones are known to need.
    ///
    /// The best waiting sequence is never passed by a smaller one that would fit, or it might wait for ever.
    private func admit(_ plan: inout StepPlan) {
        guard !waiting.isEmpty else { return }
        var promised = running.reduce(0) { $0 + $1.missingBlocks }
        while let candidate = waiting.min(by: isOrdered) {
            let needed = BlockPool.blocks(forTokens: candidate.tokens.count)
            if !hasRoom(blocks: promised + needed) {
                guard let victims = victims(for: candidate, blocks: promised + needed) else { return }
                for victim in victims {
                    promised -= victim.missingBlocks
                    preempt(victim, &plan)
                }
            }
            waiting.removeAll { $0 === candidate }
            candidate.isRunning = true
            running.append(candidate)
            promised += needed
        }
    }

    /// Whether one more sequence may run. Beside running sequences, one block for each of them is left free: they are about to grow.
    private func hasRoom(blocks: Int) -> Bool {
        running.count < configuration.maxRunning && blocks + running.count <= pool.freeCount
    }

    /// Running sequences of lower classes that are due later than the candidate, whose going would make room; nil when it would not.
    ///
    /// Only a strictly lower class loses its place to a waiting request: among equals recomputation would be waste.
    private func victims(for candidate: ScheduledSequence, blocks: Int) -> [ScheduledSequence]? {
        var free = pool.freeCount
        var needed = blocks
        var left = running.count
        var chosen: [ScheduledSequence] = []
        let open = running.filter { $0.priority < candidate.priority && candidate.precedes($0) }
        for victim in open.sorted(by: { $1.precedes($0) }) {
            chosen.append(victim)
            // Blocks shared with other tables would not come back; only those with one owner count.
            free += victim.table.count { pool.referenceCounts[Int($0)] == 1 }
            needed -= victim.missingBlocks
            left -= 1
            if left < configuration.maxRunning, needed + left <= free { return chosen }
        }
        return nil
    }

    /// One row for every running sequence whose context is computed; the last due give up their blocks when these run out.
    private func planDecodes(_ plan: inout StepPlan) {
        let decodes = running.filter { $0.remaining == 1 }.sorted { $0.precedes($1) }
        for sequence in decodes where sequence.isRunning {
            while sequence.isRunning, !prepareBlocks(sequence, upTo: sequence.tokens.count, &plan) {
                guard let last = lastDue(running) else { break }
                preempt(last, &plan)
            }
            guard sequence.isRunning else { continue }
            plan.work.append(.init(sequence: sequence, start: sequence.computed, count: 1))
            plan.decodeRows += 1
        }
    }

    /// Chunks of prompts, least remaining work first, within the rows that the budget leaves.
    private func planPrefills(_ plan: inout StepPlan) {
        var rows = budget.prefillRows(besideDecodes: plan.decodeRows) - plan.prefillRows
        for sequence in running.filter({ $0.remaining > 1 }).sorted(by: isOrdered) {
            guard rows > 0 else { return }
            var end = min(sequence.tokens.count, sequence.computed + rows)
            // A chunk that does not end the prompt ends with a block.
            let aligned = end / BlockPool.blockSize * BlockPool.blockSize
            if end < sequence.tokens.count, aligned > sequence.computed { end = aligned }
            while end > sequence.computed, !prepareBlocks(sequence, upTo: end, &plan) {
                end = min(end - 1, sequence.table.count * BlockPool.blockSize)
            }
            guard end > sequence.computed else { continue }
            let count = end - sequence.computed
            plan.work.append(.init(sequence: sequence, start: sequence.computed, count: count))
            plan.prefillRows += count
            rows -= count
        }
    }

    /// Gives the sequence writable blocks for its positions from `computed` to `end`; false when no block is free.
    private func prepareBlocks(_ sequence: ScheduledSequence, upTo end: Int, _ plan: inout StepPlan) -> Bool {
        let first = sequence.computed / BlockPool.blockSize
        let needed = BlockPool.blocks(forTokens: end)
        for index in first..<min(needed, max(first, sequence.table.count)) {
            switch pool.makeWritable(&sequence.table, at: index) {
            case .inPlace: continue
            case .copied(let copy): plan.copies.append(copy)
            case .outOfBlocks: return false
            }
        }
        while sequence.table.count < needed {
            guard let block = pool.allocate() else { return false }
            sequence.table.append(block)
        }
        return true
    }

    /// The running sequence that is preempted first: lowest class and latest arrival, as `due` weighs them.
    private func lastDue(_ sequences: [ScheduledSequence]) -> ScheduledSequence? {
        sequences.max { $0.precedes($1) }
    }

    /// Least remaining work first, with ageing: work counts as a later arrival.
    private func isOrdered(_ a: ScheduledSequence, _ b: ScheduledSequence) -> Bool {
        let weight = configuration.secondsPerPrefillToken
        return (a.due + Double(a.remaining) * weight, a.ordinal) < (b.due + Double(b.remaining) * weight, b.ordinal)
    }
}
