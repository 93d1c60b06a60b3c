/// A binary heap of times at which sequences are due; equal times keep the order of their insertion.
struct Timetable {
    struct Entry {
        /// Seconds on the monotonic clock.
        let time: Double
        let ordinal: UInt64
        let id: UInt64

        func precedes(_ other: Entry) -> Bool { (time, ordinal) < (other.time, other.ordinal) }
    }

    private var heap: [Entry] = []
    private var inserted: UInt64 = 0

    var first: Entry? { heap.first }
    var count: Int { heap.count }

    /// Returns the entry's ordinal, which no other entry has.
    mutating func insert(id: UInt64, time: Double) -> UInt64 {
        inserted += 1
        heap.append(Entry(time: time, ordinal: inserted, id: id))
        var child = heap.count - 1
        while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
        return inserted
    }

    /// Removes and returns, in order, the entries up to a time.
    mutating func removeAll(until time: Double) -> [Entry] {
        var due: [Entry] = []
        while let first = heap.first, first.time <= time {
            due.append(first)
            heap.swapAt(0, heap.count - 1)
            heap.removeLast()
            sink()
        }
        return due
    }

    mutating func removeAll(where isStale: (Entry) -> Bool) {
        heap.removeAll(where: isStale)
        // A sorted array is a heap.
        heap.sort { $0.precedes($1) }
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].precedes(heap[least])
            {
                least = child
            }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
