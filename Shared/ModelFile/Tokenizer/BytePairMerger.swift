/// Merges the bytes of a word into tokens, always the adjacent pair of lowest rank, the leftmost of equals (Sennrich et
/// al., "Neural Machine Translation of Rare Words with Subword Units"; byte-level as in GPT-2).
///
/// A linked list of symbols and a heap of candidate pairs: O(n log n) for a word of n bytes, so that a megabyte of one
/// letter is no attack. Keeps its buffers from word to word.
struct BytePairMerger {
    /// Ranks have 32 bits and so do positions: a candidate is `rank << 32 | position of the left symbol`, and their
    /// order as integers is the order of merging.
    private var candidates: [UInt64] = []
    /// The token at a position, -1 where a byte has no token, -2 where the symbol was merged into its left neighbour.
    private var tokens: [Int32] = []
    /// Positions of the neighbours, -1 and the word's length at its ends.
    private var previous: [Int32] = []
    private var next: [Int32] = []

    /// Appends the tokens of a word to `output`. A byte that is not in the vocabulary is left out, as in llama.cpp.
    mutating func merge(
        _ word: UnsafeRawBufferPointer, byteTokens: [Int32], merges: PairTable, into output: inout [Int32]
    ) {
        let count = word.count
        if count == 1 {
            let token = byteTokens[Int(word[0])]
            if token >= 0 { output.append(token) }
            return
        }
        prepare(word, byteTokens)
        for left in 0..<count - 1 {
            if let merge = pair(left, merges) { candidates.append(Self.candidate(merge.first, left)) }
        }
        makeHeap()
        while let top = popCandidate() {
            let left = Int(truncatingIfNeeded: top & 0xFFFF_FFFF)
            // Ranks are unique to a pair, so an equal rank says that the pair is still there.
            guard tokens[left] >= 0, let merge = pair(left, merges), merge.first == Int32(top >> 32) else { continue }
            let right = Int(next[left])
            tokens[left] = merge.second
            tokens[right] = -2
            let after = Int(next[right])
            next[left] = Int32(after)
            if after < count { previous[after] = Int32(left) }
            if let merge = pair(left, merges) { push(Self.candidate(merge.first, left)) }
            let before = Int(previous[left])
            if before >= 0, let merge = pair(before, merges) { push(Self.candidate(merge.first, before)) }
        }
        var position = 0
        while position < count {
            if tokens[position] >= 0 { output.append(tokens[position]) }
            position = Int(next[position])
        }
    }

    private mutating func prepare(_ word: UnsafeRawBufferPointer, _ byteTokens: [Int32]) {
        candidates.removeAll(keepingCapacity: true)
        tokens.removeAll(keepingCapacity: true)
        previous.removeAll(keepingCapacity: true)
        next.removeAll(keepingCapacity: true)
        for (index, byte) in word.enumerated() {
            tokens.append(byteTokens[Int(byte)])
            previous.append(Int32(index) - 1)
            next.append(Int32(index) + 1)
        }
    }

    /// Rank and result of merging the symbol at `left` with its right neighbour.
    private func pair(_ left: Int, _ merges: PairTable) -> PairTable.Value? {
        let right = Int(next[left])
        guard right < tokens.count, tokens[left] >= 0, tokens[right] >= 0 else { return nil }
        return merges.find(tokens[left], tokens[right])
    }

    private static func candidate(_ rank: Int32, _ left: Int) -> UInt64 {
        UInt64(UInt32(bitPattern: rank)) << 32 | UInt64(UInt32(truncatingIfNeeded: left))
    }
}

/// A binary heap, the least first.
extension BytePairMerger {
    private mutating func makeHeap() {
        var index = candidates.count / 2
        while index > 0 {
            index -= 1
            siftDown(index)
        }
    }

    private mutating func push(_ candidate: UInt64) {
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

    private mutating func popCandidate() -> UInt64? {
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
