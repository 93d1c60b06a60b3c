/// The physical KV blocks: a free list and a reference count for each block.
///
/// The bookkeeping of paged attention (Kwon et al. 2023, section 4.2); the keys and values themselves lie in the forward pass. A block
/// table lists a sequence's blocks in the order of its positions: entry `p / 16` holds position `p`. A block that several tables
/// list is read-only: ``makeWritable(_:at:)`` gives the writer a copy.
struct BlockPool {
    /// Tokens of one block.
    static let blockSize = StepBatch.blockSize

    private(set) var referenceCounts: [Int32]
    /// A stack: the block freed last is the next one used, its memory is the likeliest to be cached.
    private var free: [Int32]

    init(blockCount: Int) {
        referenceCounts = Array(repeating: 0, count: max(0, blockCount))
        free = (0..<Int32(max(0, blockCount))).reversed()
    }

    var blockCount: Int { referenceCounts.count }
    var freeCount: Int { free.count }
    var freeBlocks: [Int32] { free }

    /// Blocks that `tokens` tokens of one sequence occupy.
    static func blocks(forTokens tokens: Int) -> Int { (tokens + blockSize - 1) / blockSize }

    /// A block with one owner, or nil when none is free.
    mutating func allocate() -> Int32? {
        guard let block = free.popLast() else { return nil }
        referenceCounts[Int(block)] = 1
        return block
    }

    /// Adds an owner to a block that has one.
    mutating func retain(_ block: Int32) {
        assert(referenceCounts[Int(block)] > 0, "a free block has no owner to share it with")
        referenceCounts[Int(block)] += 1
    }

    /// Removes an owner; the last one's leaving frees the block.
    mutating func release(_ block: Int32) {
        assert(referenceCounts[Int(block)] > 0, "a block is released by an owner")
        referenceCounts[Int(block)] -= 1
        if referenceCounts[Int(block)] == 0 { free.append(block) }
    }

    /// Removes the table's owner from all its blocks.
    mutating func release(table: inout [Int32]) {
        // The last block first, so that the blocks come back in ascending order of position.
        for block in table.reversed() { release(block) }
        table.removeAll(keepingCapacity: true)
    }

    /// What writing into a block takes.
    enum Writability: Equatable {
        /// The table is the block's only owner.
        case inPlace
        /// The table now lists `copy.to`; the caller copies the contents before the step.
        case copied(BlockCopy)
        /// The block is shared and no block is free.
        case outOfBlocks
    }

    /// Makes the block at `index` of the table one that only this table lists.
    mutating func makeWritable(_ table: inout [Int32], at index: Int) -> Writability {
        let block = table[index]
        if referenceCounts[Int(block)] == 1 { return .inPlace }
        guard let copy = allocate() else { return .outOfBlocks }
        release(block)
        table[index] = copy
        return .copied(BlockCopy(from: block, to: copy))
    }
}

/// A physical block whose contents are to be copied before a step writes.
struct BlockCopy: Equatable {
    let from: Int32
    let to: Int32
}
