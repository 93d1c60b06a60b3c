/// Beginnings of sequences that the block cache has, and what sequences leave in it.
extension Scheduler {
    /// The cached blocks that continue a sequence's listed ones, at most so many that one token is left to compute: the next token is
    /// sampled from the logits after it.
    func cachedBlocks(continuing sequence: ScheduledSequence) -> [Int32] {
        guard sequence.canList, sequence.table.count == sequence.listedBlocks else { return [] }
        var found: [Int32] = []
        guard var node = sequence.table.last ?? pool.cache.scopes[sequence.scope] else { return [] }
        for index in sequence
            .listedBlocks..<max(sequence.listedBlocks, (sequence.tokens.count - 1) / BlockPool.blockSize)
        {
            let hash = sequence.hash(ofBlock: index, pool.cache)
            guard let block = pool.cache.block(after: node, hash: hash, tokens: sequence.blockTokens(index)) else {
                break
            }
            found.append(block)
            node = block
        }
        return found
    }

    /// Makes the sequence an owner of the blocks that ``cachedBlocks(continuing:)`` gave.
    func attach(_ blocks: [Int32], to sequence: ScheduledSequence) {
        guard !blocks.isEmpty else { return }
        for block in blocks { pool.retain(block) }
        sequence.table += blocks
        sequence.listedBlocks += blocks.count
        sequence.computed = sequence.listedBlocks * BlockPool.blockSize
        count(hit: blocks.count * BlockPool.blockSize, sequence)
    }

    /// Whether nothing has been computed beyond the listed blocks, so that more of them can be taken over.
    private func isAtListedEnd(_ sequence: ScheduledSequence) -> Bool {
        sequence.canList && sequence.table.count == sequence.listedBlocks
            && sequence.computed == sequence.listedBlocks * BlockPool.blockSize
    }

    /// Takes over the blocks that the cache has got since the last look.
    func attachNewBlocks(to sequence: ScheduledSequence) {
        if isAtListedEnd(sequence) { attach(cachedBlocks(continuing: sequence), to: sequence) }
    }

    /// Takes over the beginning of a cached block that ends early or goes on otherwise; it is copied before it is written to.
    func attachPartialBlock(to sequence: ScheduledSequence) {
        guard isAtListedEnd(sequence) else { return }
        let end = min(sequence.tokens.count - 1, sequence.computed + BlockPool.blockSize)
        guard sequence.computed < end, let node = sequence.table.last ?? pool.cache.scopes[sequence.scope],
            let match = pool.cache.longestMatch(after: node, sequence.tokens[sequence.computed..<end])
        else { return }
        pool.retain(match.block)
        sequence.table.append(match.block)
        sequence.computed += match.count
        count(hit: match.count, sequence)
    }

    /// Whether the block that this sequence would compute next is among those (hashes of chains) that others compute in this step.
    func waits(_ sequence: ScheduledSequence, for pending: Set<UInt64>) -> Bool {
        guard !pending.isEmpty, isAtListedEnd(sequence), sequence.remaining > BlockPool.blockSize else { return false }
        return pending.contains(sequence.hash(ofBlock: sequence.listedBlocks, pool.cache))
    }

    /// The hashes of the blocks, full in the end, that a sequence has not listed yet and works on up to `end`.
    func blocksBegun(by end: Int, of sequence: ScheduledSequence) -> [UInt64] {
        let last = min(BlockPool.blocks(forTokens: end), sequence.tokens.count / BlockPool.blockSize)
        guard sequence.canList, sequence.listedBlocks < last else { return [] }
        return (sequence.listedBlocks..<last).map { sequence.hash(ofBlock: $0, pool.cache) }
    }

    private func count(hit tokens: Int, _ sequence: ScheduledSequence) {
        if !sequence.wasPreempted { prefixTokens.hit += UInt64(tokens) }
    }

    /// Lists the blocks that are full and computed; never those of a draft that may be wrong.
    func listComputedBlocks(_ sequence: ScheduledSequence) {
        while sequence.canList, (sequence.listedBlocks + 1) * BlockPool.blockSize <= sequence.computed {
            let index = sequence.listedBlocks
            let listing = pool.list(
                &sequence.table, at: index, scope: sequence.scope, hash: sequence.hash(ofBlock: index, pool.cache),
                tokens: sequence.blockTokens(index))
            guard listing == .listed else {
                sequence.canList = false
                return
            }
            sequence.listedBlocks += 1
        }
    }

    /// Gives up a sequence's blocks; what was computed stays in the cache until its memory is needed.
    func releaseBlocks(of sequence: ScheduledSequence) {
        let index = sequence.listedBlocks
        let start = index * BlockPool.blockSize
        if sequence.canList, sequence.computed > start, sequence.computed < start + BlockPool.blockSize {
            pool.listPartial(
                sequence.table, at: index, scope: sequence.scope, tokens: sequence.tokens[start..<sequence.computed])
        }
        pool.release(table: &sequence.table)
        sequence.computed = 0
        sequence.listedBlocks = 0
        sequence.canList = true
    }
}
