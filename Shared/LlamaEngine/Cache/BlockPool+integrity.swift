/// Why the pool's books do not balance.
struct IntegrityFault: Error, Equatable, CustomStringConvertible {
    let description: String
}

extension BlockPool {
    /// Checks that every block's reference count is the number of tables that list it, and that the free list holds exactly the
    /// blocks without owners, each once. Linear in the blocks; run whenever the engine is idle.
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
        var isFree = [Bool](repeating: false, count: blockCount)
        for block in freeBlocks {
            guard isFree.indices.contains(Int(block)), !isFree[Int(block)] else {
                throw IntegrityFault(description: "block \(block) is in the free list twice")
            }
            isFree[Int(block)] = true
        }
        for block in owned.indices where isFree[block] != (owned[block] == 0) {
            throw IntegrityFault(
                description:
                    "block \(block) has \(owned[block]) owners and is \(isFree[block] ? "" : "not ")in the free list")
        }
    }
}
