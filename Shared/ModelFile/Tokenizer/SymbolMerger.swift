/// Says which neighbours merge, in which order, and into what.
protocol MergeRule {
    /// The token of two neighbours together and its priority, the least first; nil where they do not merge.
    func merge(_ left: SymbolMerger.Symbol, _ right: SymbolMerger.Symbol) -> (priority: UInt32, token: Int32)?
}

/// Merges symbols into tokens, always the adjacent pair of least priority, the leftmost of equals (Sennrich et al.,
/// "Neural Machine Translation of Rare Words with Subword Units").
///
/// A linked list of symbols and a heap of candidate pairs: O(n log n) for a word of n symbols, so that a megabyte of one
/// letter is no attack. Keeps its buffers from word to word.
struct SymbolMerger {
    struct Symbol {
        /// -1 where the text has no token of its own.
        var token: Int32
        /// Byte range in the word. Empty when the symbol was merged into its left neighbour.
        var start: Int32
        var end: Int32
        /// The token of this symbol and its right neighbour together, -1 for none.
        fileprivate var together: Int32 = -1
        fileprivate var togetherPriority: UInt32 = 0
        /// Indices of the neighbours, -1 and the number of symbols at the ends.
        fileprivate var previous: Int32 = -1
        fileprivate var next: Int32 = 0
    }

    /// A candidate is `priority << 32 | index of the left symbol`, and their order as integers is the order of merging.
    private var candidates = CandidateHeap()
    private var symbols: [Symbol] = []
    /// How many pairs were looked up since the merger was made: a measure of the time that does not depend on the
    /// machine.
    private(set) var lookups = 0

    mutating func removeAll() {
        candidates.removeAll()
        symbols.removeAll(keepingCapacity: true)
    }

    mutating func append(token: Int32, bytes: Range<Int>) {
        let index = Int32(symbols.count)
        symbols.append(
            Symbol(
                token: token, start: Int32(bytes.lowerBound), end: Int32(bytes.upperBound), previous: index - 1,
                next: index + 1))
    }

    mutating func merge(_ rule: some MergeRule) {
        let count = symbols.count
        guard count > 1 else { return }
        for left in 0..<count - 1 {
            if let candidate = look(left, rule) { candidates.add(candidate) }
        }
        candidates.order()
        while let top = candidates.pop() {
            let left = Int(truncatingIfNeeded: top & 0xFFFF_FFFF)
            // A pair that is gone may have left a candidate of the same priority as the one that is there now: then
            // that one is next in order anyway, and its own candidate finds nothing later.
            guard symbols[left].together >= 0, symbols[left].togetherPriority == UInt32(top >> 32) else { continue }
            let right = Int(symbols[left].next)
            let after = symbols[right].next
            symbols[left].token = symbols[left].together
            symbols[left].end = symbols[right].end
            symbols[left].next = after
            symbols[right].start = symbols[right].end
            symbols[right].together = -1
            if after < count { symbols[Int(after)].previous = Int32(left) }
            if let candidate = look(left, rule) { candidates.push(candidate) }
            let before = Int(symbols[left].previous)
            if before >= 0, let candidate = look(before, rule) { candidates.push(candidate) }
        }
    }

    /// The symbols that are left, in order.
    func forEachSymbol(_ body: (Symbol) -> Void) {
        var index = 0
        while index < symbols.count {
            body(symbols[index])
            index = Int(symbols[index].next)
        }
    }

    /// Notes what the symbol at `left` and its right neighbour make.
    private mutating func look(_ left: Int, _ rule: some MergeRule) -> UInt64? {
        symbols[left].together = -1
        let right = Int(symbols[left].next)
        guard right < symbols.count else { return nil }
        lookups += 1
        guard let merge = rule.merge(symbols[left], symbols[right]) else { return nil }
        symbols[left].together = merge.token
        symbols[left].togetherPriority = merge.priority
        return UInt64(merge.priority) << 32 | UInt64(UInt32(truncatingIfNeeded: left))
    }
}

/// A binary heap of integers, the least first.
private struct CandidateHeap {
    private var candidates: [UInt64] = []

    mutating func removeAll() { candidates.removeAll(keepingCapacity: true) }

    /// Adds one without ordering; `order` follows.
    mutating func add(_ candidate: UInt64) { candidates.append(candidate) }

    mutating func order() {
        var index = candidates.count / 2
        while index > 0 {
            index -= 1
            siftDown(index)
        }
    }

    mutating func push(_ candidate: UInt64) {
        candidates.append(candidate)
        var index = candidates.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard candidate < candidates[parent] else { break }
            candidates[index] = candidates[parent]
            index = parent
        }
        candidates[index] = candidate
    }

    mutating func pop() -> UInt64? {
        guard let last = candidates.popLast() else { return nil }
        guard let top = candidates.first else { return last }
        candidates[0] = last
        siftDown(0)
        return top
    }

    private mutating func siftDown(_ start: Int) {
        // The innermost loop for a long word: a buffer, so that the array is checked for uniqueness once.
        candidates.withUnsafeMutableBufferPointer { heap in
            let moving = heap[start]
            var index = start
            while true {
                var child = 2 * index + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
                guard heap[child] < moving else { break }
                heap[index] = heap[child]
                index = child
            }
            heap[index] = moving
        }
    }
}
