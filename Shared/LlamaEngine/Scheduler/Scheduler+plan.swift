extension Scheduler {
    /// The next step; empty only when no sequence is left.
    ///
    /// - Parameter now: seconds on the clock of the arrivals.
    func plan(now: Double) -> StepPlan {
        var plan = StepPlan()
        admit(&plan)
        planDecodes(&plan)
        planDrafts(&plan)
        planPrefills(&plan, now: now)
        // Blocks are promised at admission, so a step with running sequences and no row does not happen; should it ever, blocks
        // change hands until the sequence due first has enough.
        while plan.isEmpty, running.count > 1, let last = lastDue(running) {
            preempt(last, &plan)
            planDecodes(&plan)
            planPrefills(&plan, now: now)
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
            let cached = cachedBlocks(continuing: candidate)
            let missing = BlockPool.blocks(forTokens: candidate.tokens.count) - cached.count
            // A cached block without owner is a free one until it is taken over.
            let needed = missing + cached.count { pool.referenceCounts[Int($0)] == 0 }
            if !hasRoom(blocks: promised + needed) {
                guard let victims = victims(for: candidate, blocks: promised + needed, keeping: cached) else { return }
                for victim in victims {
                    promised -= victim.missingBlocks
                    preempt(victim, &plan)
                }
            }
            waiting.removeAll { $0 === candidate }
            candidate.isRunning = true
            running.append(candidate)
            if !candidate.wasPreempted, case .salt = candidate.scope {
                prefixTokens.queried += UInt64(candidate.tokens.count)
            }
            attach(cached, to: candidate)
            swapIn(candidate, &plan)
            promised += missing
        }
    }

    /// Whether one more sequence may run. Beside running sequences, one block for each of them is left free: they are about to grow.
    private func hasRoom(blocks: Int) -> Bool {
        running.count < configuration.maxRunning && blocks + running.count <= pool.freeCount
    }

    /// Running sequences of lower classes that are due later than the candidate, whose going would make room; nil when it would not.
    ///
    /// Only a strictly lower class loses its place to a waiting request: among equals recomputation would be waste.
    private func victims(
        for candidate: ScheduledSequence, blocks: Int, keeping cached: [Int32]
    ) -> [ScheduledSequence]? {
        let kept = Set(cached)
        var free = pool.freeCount
        var needed = blocks
        var left = running.count
        var chosen: [ScheduledSequence] = []
        let open = running.filter { $0.priority < candidate.priority && candidate.precedes($0) }
        for victim in open.sorted(by: { $1.precedes($0) }) {
            chosen.append(victim)
            // Blocks shared with other tables would not come back, those that the candidate takes over would not be free.
            free += victim.table.count { pool.referenceCounts[Int($0)] == 1 && !kept.contains($0) }
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
            plan.work.append(.init(sequence, end: sequence.tokens.count))
            plan.decodeRows += 1
        }
    }

    /// Rows for the drafts of planned decodes, first come first served. Plain decodes, prompts and promised blocks come before them.
    private func planDrafts(_ plan: inout StepPlan) {
        guard running.contains(where: { !$0.drafts.isEmpty }) else { return }
        let prompts = running.contains { $0.remaining > 1 }
        var rows = budget.draftRows(besideDecodes: plan.decodeRows, leavingPrefills: prompts)
        var spare = pool.freeCount - running.count - running.reduce(0) { $0 + $1.missingBlocks }
        for (index, item) in plan.work.enumerated() where !item.sequence.drafts.isEmpty {
            let sequence = item.sequence
            let room = (sequence.table.count + max(0, spare)) * BlockPool.blockSize - sequence.tokens.count
            let count = min(sequence.drafts.count, rows, room, sequence.maximumTokens - sequence.tokens.count - 1)
            guard count > 0 else { continue }
            let blocks = sequence.table.count
            guard prepareBlocks(sequence, upTo: sequence.tokens.count + count, &plan) else { continue }
            spare -= sequence.table.count - blocks
            rows -= count
            plan.work[index] = .init(sequence, end: item.end, drafts: Array(sequence.drafts.prefix(count)))
            plan.decodeRows += count
            plan.draftRows += count
        }
        for sequence in running { sequence.drafts = [] }
    }

    /// Chunks of prompts within the rows that the budget leaves: least remaining work first, but a share is the oldest's, so that a
    /// long prompt goes on however many short ones come.
    private func planPrefills(_ plan: inout StepPlan, now: Double) {
        var rows = budget.prefillRows(besideDecodes: plan.plainRows, drafts: plan.draftRows) - plan.prefillRows
        var order = running.filter { $0.remaining > 1 }
        guard rows > 0, let oldest = order.min(by: { $0.precedes($1) }) else { return }
        for sequence in order { attachNewBlocks(to: sequence) }
        order.sort { prefillRank($0, now: now) < prefillRank($1, now: now) }
        // Hashes of the blocks that this step computes: who needs the same takes them over after it.
        var pending: Set<UInt64> = []
        let share = order.first === oldest ? 0 : (rows + 3) / 4
        rows -= share
        for sequence in order where rows > 0 && (sequence !== oldest || share == 0) {
            rows -= planPrefill(sequence, rows: rows, &pending, &plan)
        }
        if share > 0 { _ = planPrefill(oldest, rows: rows + share, &pending, &plan) }
    }

    /// One chunk of a prompt; returns its rows.
    private func planPrefill(
        _ sequence: ScheduledSequence, rows: Int, _ pending: inout Set<UInt64>, _ plan: inout StepPlan
    ) -> Int {
        guard !waits(sequence, for: pending) else { return 0 }
        attachPartialBlock(to: sequence)
        var end = min(sequence.tokens.count, sequence.computed + rows)
        // A chunk that does not end the prompt ends with a block.
        let aligned = end / BlockPool.blockSize * BlockPool.blockSize
        if end < sequence.tokens.count, aligned > sequence.computed { end = aligned }
        while end > sequence.computed, !prepareBlocks(sequence, upTo: end, &plan) {
            end = min(end - 1, sequence.table.count * BlockPool.blockSize)
        }
        guard end > sequence.computed else { return 0 }
        let count = end - sequence.computed
        plan.work.append(.init(sequence, end: end))
        plan.prefillRows += count
        pending.formUnion(blocksBegun(by: end, of: sequence))
        return count
    }

    /// Classes in order, those that have waited for as long as their class has patience before them; then least remaining work.
    private func prefillRank(_ sequence: ScheduledSequence, now: Double) -> (Int, Int, UInt64) {
        let rank =
            switch sequence.priority {
            case _ where sequence.due <= now: 0
            case .stream: 0
            case .chat: 1
            case .batch: 2
            }
        return (rank, sequence.remaining, sequence.ordinal)
    }

    /// Gives the sequence writable blocks for its positions from `computed` to `end`; false when no block is free.
    private func prepareBlocks(_ sequence: ScheduledSequence, upTo end: Int, _ plan: inout StepPlan) -> Bool {
        let first = sequence.computed / BlockPool.blockSize
        let needed = BlockPool.blocks(forTokens: end)
        for index in first..<min(needed, max(first, sequence.table.count)) {
            let keeping = max(0, sequence.computed - index * BlockPool.blockSize)
            switch pool.makeWritable(&sequence.table, at: index, keeping: keeping) {
            case .inPlace: continue
            case .copied(let copy): plan.moves.append(.copy(copy))
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
