/// Blocks in the order of their last use, for eviction of the least recently used: a doubly linked list in arrays, every operation O(1).
struct EvictionOrder {
    static let none: Int32 = -1
    /// `[blocks]` each: neighbours in the list.
    private var older: [Int32]
    private var newer: [Int32]
    private var isListed: [Bool]
    private(set) var oldest = EvictionOrder.none
    private var newest = EvictionOrder.none
    private(set) var count = 0

    init(blockCount: Int) {
        older = Array(repeating: Self.none, count: blockCount)
        newer = older
        isListed = Array(repeating: false, count: blockCount)
    }

    func contains(_ block: Int32) -> Bool { isListed[Int(block)] }

    /// The one used next after a listed block; `none` after the newest.
    func after(_ block: Int32) -> Int32 { newer[Int(block)] }

    /// Lists a block as the one used last.
    mutating func append(_ block: Int32) {
        assert(!contains(block))
        isListed[Int(block)] = true
        older[Int(block)] = newest
        newer[Int(block)] = Self.none
        if newest == Self.none { oldest = block } else { newer[Int(newest)] = block }
        newest = block
        count += 1
    }

    mutating func remove(_ block: Int32) {
        assert(contains(block))
        isListed[Int(block)] = false
        let before = older[Int(block)]
        let after = newer[Int(block)]
        if before == Self.none { oldest = after } else { newer[Int(before)] = after }
        if after == Self.none { newest = before } else { older[Int(after)] = before }
        count -= 1
    }

    /// Takes the block off that was used longest ago.
    mutating func removeOldest() -> Int32? {
        guard oldest != Self.none else { return nil }
        let block = oldest
        remove(block)
        return block
    }
}
