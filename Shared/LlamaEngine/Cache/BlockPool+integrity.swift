/// Why the pool's books do not balance.
struct IntegrityFault: Error, Equatable, CustomStringConvertible {
    let description: String
}

extension BlockPool {
    /// Checks that every block's reference count is the number of tables that list it; that a block without owner is either empty or
    /// cached, once; and that the cache's tree is whole. Linear in the blocks; run whenever the engine is idle.
    func verify(owners: some Sequence<[Int32]>) throws(IntegrityFault) {
        var owned = [Int32](repeating: 0, count: blockCount)
        for table in owners {
            for block in table {
                guard owned.indices.contains(Int(block)) else {
                    throw IntegrityFault(description: "a table lists block \(block) of \(blockCount)")
                }
                owned[Int(block)] += 1
            }
        }
        for block in owned.indices where owned[block] != referenceCounts[block] {
            throw IntegrityFault(
                description: "block \(block) counts \(referenceCounts[block]) references and has \(owned[block]) owners"
            )
        }
        var isEmpty = [Bool](repeating: false, count: blockCount)
        for block in emptyBlocks {
            guard isEmpty.indices.contains(Int(block)), !isEmpty[Int(block)] else {
                throw IntegrityFault(description: "block \(block) is among the empty ones twice")
            }
            isEmpty[Int(block)] = true
        }
        for block in 0..<Int32(blockCount) {
            let states = [owned[Int(block)] > 0, evictable.contains(block), isEmpty[Int(block)]]
            guard states.count(where: { $0 }) == 1 else {
                throw IntegrityFault(
                    description:
                        "block \(block) is \(states[0] ? "" : "not ")owned, \(states[1] ? "" : "not ")evictable, "
                        + "\(states[2] ? "" : "not ")empty")
            }
            guard cache.holds(block) ? !states[2] : !states[1] else {
                throw IntegrityFault(description: "block \(block) is empty and cached, or evictable and not cached")
            }
        }
        try verifyCache()
    }

    /// Every listed block hangs at its parent, has the hash of its chain, is found under it, and goes before its parent.
    private func verifyCache() throws(IntegrityFault) {
        let order = evictable.blocks
        guard order.count == evictable.count else {
            throw IntegrityFault(description: "\(order.count) of \(evictable.count) evictable blocks are linked")
        }
        var places = [Int](repeating: .max, count: blockCount)
        for (place, block) in order.enumerated() { places[Int(block)] = place }
        var listed = 0
        for parent in 0..<PrefixCache.Node(cache.entries.count) {
            var child = cache.entries[Int(parent)].firstChild
            var previous = PrefixCache.none
            while child != PrefixCache.none {
                let entry = cache.entries[Int(child)]
                guard cache.holds(child), entry.parent == parent, entry.previousSibling == previous,
                    Int(parent) >= blockCount || cache.entries[Int(parent)].count == Self.blockSize
                else { throw IntegrityFault(description: "block \(child) does not hang at its parent \(parent)") }
                if entry.count == Self.blockSize {
                    let hash = cache.hash(after: cache.entries[Int(parent)].hash, cache.tokens(of: child))
                    guard entry.hash == hash, cache.index[hash] == child else {
                        throw IntegrityFault(description: "block \(child) is not found under its hash")
                    }
                }
                if Int(parent) < blockCount {
                    guard referenceCounts[Int(parent)] >= referenceCounts[Int(child)],
                        places[Int(child)] <= places[Int(parent)]
                    else {
                        throw IntegrityFault(description: "block \(parent) may go before \(child), which continues it")
                    }
                }
                listed += 1
                guard listed <= blockCount else { throw IntegrityFault(description: "the cache's tree has a cycle") }
                previous = child
                child = entry.nextSibling
            }
            if Int(parent) >= blockCount, cache.entries[Int(parent)].firstChild != PrefixCache.none,
                !cache.scopes.values.contains(parent)
            {
                throw IntegrityFault(description: "blocks hang at scope \(parent), which is gone")
            }
        }
        let full = (0..<blockCount).count { cache.entries[$0].count == Self.blockSize }
        let held = (0..<blockCount).count { cache.entries[$0].count > 0 }
        guard listed == held, cache.index.count == full else {
            throw IntegrityFault(
                description:
                    "\(held) blocks are cached, \(listed) hang in the tree, \(cache.index.count) of \(full) are in the index"
            )
        }
    }
}
