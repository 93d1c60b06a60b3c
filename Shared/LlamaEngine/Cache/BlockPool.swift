/// The physical KV blocks: reference counts, blocks that hold nothing, and blocks without owner whose contents may be used again.
///
/// The bookkeeping of paged attention (Kwon et al. 2023, section 4.2); the keys and values themselves lie in the forward pass. A block
/// table lists a sequence's blocks in the order of its positions: entry `p / 16` holds position `p`. A block that several tables
/// list, or whose contents the cache knows, is read-only: ``makeWritable(_:at:keeping:)`` gives the writer a block of its own.
///
/// A block is one of: owned (a reference count above 0), cached (no owner, in ``cache``, in the order of eviction), empty.
struct BlockPool {
    /// Tokens of one block.
    static let blockSize = StepBatch.blockSize

    private(set) var referenceCounts: [Int32]
    /// A stack: the block freed last is the next one used, its memory is the likeliest to be in the CPU's caches.
    private(set) var emptyBlocks: [Int32]
    /// Contents of owned and cached blocks.
    private(set) var cache: PrefixCache
    /// Cached blocks without owner.
    private(set) var evictable: EvictionOrder
    private(set) var evictions: UInt64 = 0
    private let numericsID: String

    /// - Parameters: see ``PrefixCache/init(blockCount:numericsID:hashMask:)``.
    init(blockCount: Int, numericsID: String = "", hashMask: UInt64 = .max) {
        let count = max(0, blockCount)
        referenceCounts = Array(repeating: 0, count: count)
        emptyBlocks = (0..<Int32(count)).reversed()
        cache = PrefixCache(blockCount: count, numericsID: numericsID, hashMask: hashMask)
        evictable = EvictionOrder(blockCount: count)
        self.numericsID = numericsID
    }

    /// All blocks without owner and empty.
    mutating func reset() { self = BlockPool(blockCount: blockCount, numericsID: numericsID) }

    var blockCount: Int { referenceCounts.count }
    /// Blocks without owner, cached ones included: as many can be allocated.
    var freeCount: Int { emptyBlocks.count + evictable.count }
    var cachedCount: Int { evictable.count }

    /// Blocks that `tokens` tokens of one sequence occupy.
    static func blocks(forTokens tokens: Int) -> Int { (tokens + blockSize - 1) / blockSize }

    /// A block with one owner: an empty one, else the cached one used longest ago. nil when all are owned.
    mutating func allocate() -> Int32? {
        let block: Int32
        if let empty = emptyBlocks.popLast() {
            block = empty
        } else {
            guard let evicted = evictable.removeOldest() else { return nil }
            cache.remove(evicted)
            evictions += 1
            block = evicted
        }
        referenceCounts[Int(block)] = 1
        return block
    }

    /// Adds an owner to a block that is owned or cached.
    mutating func retain(_ block: Int32) {
        if referenceCounts[Int(block)] == 0 {
            assert(cache.holds(block), "an empty block holds nothing to share")
            evictable.remove(block)
        }
        referenceCounts[Int(block)] += 1
    }

    /// Removes an owner; the last one's leaving makes the block a cached or an empty one.
    mutating func release(_ block: Int32) {
        assert(referenceCounts[Int(block)] > 0, "a block is released by an owner")
        referenceCounts[Int(block)] -= 1
        guard referenceCounts[Int(block)] == 0 else { return }
        if cache.holds(block) { evictable.append(block) } else { emptyBlocks.append(block) }
    }

    /// Removes the table's owner from all its blocks.
    mutating func release(table: inout [Int32]) {
        // The last block first: no block is evicted before those that continue it, and empty ones come back in ascending order.
        for block in table.reversed() { release(block) }
        table.removeAll(keepingCapacity: true)
    }

    /// What writing into a block takes.
    enum Writability: Equatable {
        /// The table is the block's only owner.
        case inPlace
        /// The table now lists `copy.to`; the caller copies the contents before the step.
        case copied(BlockCopy)
        /// The block is shared and every other one is owned.
        case outOfBlocks
    }

    /// Makes the block at `index` of the table one that only this table lists and whose contents may change.
    ///
    /// - Parameter keeping: tokens of the block that stay as they are. A partial block without another owner, whose tokens all stay,
    ///   is continued in place: what the cache loses comes back longer.
    mutating func makeWritable(_ table: inout [Int32], at index: Int, keeping: Int = 0) -> Writability {
        let block = table[index]
        if referenceCounts[Int(block)] == 1 {
            guard cache.holds(block) else { return .inPlace }
            if cache.isPartial(block), cache.entries[Int(block)].count <= keeping {
                cache.remove(block)
                return .inPlace
            }
        }
        guard let copy = allocate() else {
            // Nothing is cached beside it, so no other block continues this one; a sequence that fits alone must not need one more.
            guard referenceCounts[Int(block)] == 1 else { return .outOfBlocks }
            cache.remove(block)
            return .inPlace
        }
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

/// Which contents the blocks have.
extension BlockPool {
    enum Listing: Equatable {
        /// The cache lists the block, or the table now has the equal one that the cache had.
        case listed
        /// Another chain has the same hash.
        case collision
    }

    /// Lists the contents of the table's full block at `index`; the blocks before it are listed.
    ///
    /// Where two sequences have computed the same, one block stays: equal tokens after an equal prefix are equal bits.
    mutating func list(
        _ table: inout [Int32], at index: Int, scope: CacheScope, hash: UInt64, tokens: ArraySlice<Int32>
    ) -> Listing {
        let parent = index == 0 ? cache.makeRoot(scope) : table[index - 1]
        if let known = cache.block(after: parent, hash: hash, tokens: tokens) {
            guard known != table[index] else { return .listed }
            retain(known)
            release(table[index])
            table[index] = known
            return .listed
        }
        guard cache.insert(table[index], after: parent, hash: hash, tokens: tokens) else {
            if index == 0 { cache.removeIfChildless(parent) }
            return .collision
        }
        return .listed
    }

    /// Lists the contents of the table's last, partial block; the blocks before it are listed. Only before the table is released.
    mutating func listPartial(_ table: [Int32], at index: Int, scope: CacheScope, tokens: ArraySlice<Int32>) {
        let block = table[index]
        guard referenceCounts[Int(block)] == 1, !cache.holds(block) else { return }
        let parent = index == 0 ? cache.makeRoot(scope) : table[index - 1]
        if cache.longestMatch(after: parent, tokens)?.count != tokens.count {
            _ = cache.insert(block, after: parent, hash: 0, tokens: tokens)
        }
        if index == 0 { cache.removeIfChildless(parent) }
    }

    /// Empties the cached blocks of a scope that nobody will ask for again.
    mutating func forget(_ scope: CacheScope) {
        guard let root = cache.scopes[scope] else { return }
        var node = root
        while true {
            let entry = cache.entries[Int(node)]
            if entry.firstChild != PrefixCache.none {
                node = entry.firstChild
                continue
            }
            guard node != root, evictable.contains(node) else { return }
            evictable.remove(node)
            cache.remove(node)
            emptyBlocks.append(node)
            node = entry.parent
        }
    }
}
