/// Why the pool's books do not balance.
struct IntegrityFault: Error, Equatable, CustomStringConvertible {
    let description: String
}

extension BlockPool {
    /// Checks the books whole: see ``IntegrityCheck``.
    ///
    /// - Parameter owners: the tables of all sequences.
    func verify(owners: some Sequence<[Int32]>) throws(IntegrityFault) {
        var check = IntegrityCheck(self)
        try check.count(owners)
        while try !check.advance(self, steps: .max) {}
    }
}

/// Checks that every block's reference count is the number of tables that list it; that a block without owner is either empty or
/// cached, once; and that the cache's tree is whole. Linear in the blocks, and can be done in slices while the pool stays as it is.
struct IntegrityCheck {
    private enum Stage { case empties, blocks, order, tree, sums, done }

    private var stage = Stage.empties
    /// How far the stage is.
    private var cursor = 0
    /// Tables that list each block; empty where there is no table.
    private var owned: [Int32] = []
    private var isEmpty: [Bool]
    /// Places in the order of eviction; `Int32.max` for blocks that are not in it.
    private var places: [Int32]
    private var nextInOrder: Int32
    private var full = 0
    private var held = 0
    private var listed = 0
    /// The children of the node at `cursor` that were looked at: the last one, and the one to look at.
    private var child: (previous: Int32, next: Int32)?

    init(_ pool: BlockPool) {
        isEmpty = [Bool](repeating: false, count: pool.blockCount)
        places = [Int32](repeating: .max, count: pool.blockCount)
        nextInOrder = pool.evictable.oldest
    }

    /// Takes in the tables of all sequences, before the first step.
    mutating func count(_ owners: some Sequence<[Int32]>) throws(IntegrityFault) {
        owned = [Int32](repeating: 0, count: isEmpty.count)
        for table in owners {
            for block in table {
                guard owned.indices.contains(Int(block)) else {
                    throw IntegrityFault(description: "a table lists block \(block) of \(owned.count)")
                }
                owned[Int(block)] += 1
            }
        }
    }

    /// Goes on by about as many blocks.
    ///
    /// - Returns: whether all is checked.
    mutating func advance(_ pool: BlockPool, steps: Int) throws(IntegrityFault) -> Bool {
        var left = steps
        while left > 0, stage != .done {
            switch stage {
            case .empties: try checkEmpty(pool)
            case .blocks: try checkBlock(pool)
            case .order: try checkOrder(pool)
            case .tree: try checkTree(pool)
            case .sums: try checkSums(pool)
            case .done: break
            }
            left -= 1
        }
        return stage == .done
    }

    private mutating func go(to next: Stage) { (stage, cursor) = (next, 0) }

    private mutating func checkEmpty(_ pool: BlockPool) throws(IntegrityFault) {
        guard cursor < pool.emptyBlocks.count else { return go(to: .blocks) }
        let block = Int(pool.emptyBlocks[cursor])
        guard isEmpty.indices.contains(block), !isEmpty[block] else {
            throw IntegrityFault(description: "block \(block) is among the empty ones twice")
        }
        isEmpty[block] = true
        cursor += 1
    }

    private mutating func checkBlock(_ pool: BlockPool) throws(IntegrityFault) {
        guard cursor < pool.blockCount else { return go(to: .order) }
        let block = Int32(cursor)
        let owners = owned.isEmpty ? 0 : owned[cursor]
        guard owners == pool.referenceCounts[cursor] else {
            throw IntegrityFault(
                description:
                    "block \(block) counts \(pool.referenceCounts[cursor]) references and has \(owners) owners")
        }
        let (isOwned, isEvictable, isEmpty) = (owners > 0, pool.evictable.contains(block), isEmpty[cursor])
        guard (isOwned ? 1 : 0) + (isEvictable ? 1 : 0) + (isEmpty ? 1 : 0) == 1 else {
            throw IntegrityFault(
                description:
                    "block \(block) is \(isOwned ? "" : "not ")owned, \(isEvictable ? "" : "not ")evictable, "
                    + "\(isEmpty ? "" : "not ")empty")
        }
        guard pool.cache.holds(block) ? !isEmpty : !isEvictable else {
            throw IntegrityFault(description: "block \(block) is empty and cached, or evictable and not cached")
        }
        let count = pool.cache.entries[cursor].count
        if count > 0 { held += 1 }
        if count == BlockPool.blockSize { full += 1 }
        cursor += 1
    }

    private mutating func checkOrder(_ pool: BlockPool) throws(IntegrityFault) {
        guard nextInOrder != EvictionOrder.none else {
            guard cursor == pool.evictable.count else {
                throw IntegrityFault(description: "\(cursor) of \(pool.evictable.count) evictable blocks are linked")
            }
            return go(to: .tree)
        }
        guard places.indices.contains(Int(nextInOrder)), places[Int(nextInOrder)] == .max else {
            throw IntegrityFault(description: "the order of eviction has a cycle")
        }
        places[Int(nextInOrder)] = Int32(cursor)
        nextInOrder = pool.evictable.after(nextInOrder)
        cursor += 1
    }

    /// Every listed block hangs at its parent, has the hash of its chain, is found under it, and goes before its parent.
    private mutating func checkTree(_ pool: BlockPool) throws(IntegrityFault) {
        let cache = pool.cache
        guard cursor < cache.entries.count else { return go(to: .sums) }
        let parent = PrefixCache.Node(cursor)
        let place = child ?? (PrefixCache.none, cache.entries[cursor].firstChild)
        guard place.next != PrefixCache.none else {
            child = nil
            cursor += 1
            return
        }
        if place.previous == PrefixCache.none, cursor >= pool.blockCount, !cache.isScope(parent) {
            throw IntegrityFault(description: "blocks hang at scope \(parent), which is gone")
        }
        let block = place.next
        let entry = cache.entries[Int(block)]
        guard cache.holds(block), entry.parent == parent, entry.previousSibling == place.previous,
            cursor >= pool.blockCount || cache.entries[cursor].count == BlockPool.blockSize
        else { throw IntegrityFault(description: "block \(block) does not hang at its parent \(parent)") }
        if entry.count == BlockPool.blockSize {
            let hash = cache.hash(after: cache.entries[cursor].hash, cache.tokens(of: block))
            guard entry.hash == hash, cache.index[hash] == block else {
                throw IntegrityFault(description: "block \(block) is not found under its hash")
            }
        }
        if cursor < pool.blockCount {
            guard pool.referenceCounts[cursor] >= pool.referenceCounts[Int(block)],
                places[Int(block)] <= places[cursor]
            else {
                throw IntegrityFault(description: "block \(parent) may go before \(block), which continues it")
            }
        }
        listed += 1
        guard listed <= pool.blockCount else { throw IntegrityFault(description: "the cache's tree has a cycle") }
        child = (block, entry.nextSibling)
    }

    private mutating func checkSums(_ pool: BlockPool) throws(IntegrityFault) {
        guard listed == held, pool.cache.index.count == full else {
            throw IntegrityFault(
                description:
                    "\(held) blocks are cached, \(listed) hang in the tree, \(pool.cache.index.count) of \(full) are in the index"
            )
        }
        go(to: .done)
    }
}
