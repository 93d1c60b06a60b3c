/// A hash table from pairs of 32-bit numbers to pairs of 32-bit numbers, open-addressed in one array.
///
/// A Dictionary would take three times the memory for the merges of a large vocabulary. The hash is keyed at random for
/// each table, so that a file cannot be made whose keys collide; results do not depend on it.
struct PairTable {
    struct Value {
        let first: Int32
        let second: Int32
    }

    private struct Slot {
        var key: UInt64
        var value: Value
    }

    private static var vacant: UInt64 { .max }

    private var slots: [Slot]
    private let mask: Int
    private let multiplier = UInt64.random(in: .min ... .max) | 1
    private(set) var count = 0
    private let limit: Int

    /// Room for `capacity` pairs; more are refused.
    init(capacity: Int) {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        slots = [Slot](repeating: Slot(key: Self.vacant, value: Value(first: -1, second: -1)), count: size)
        mask = size - 1
        limit = capacity
    }

    /// Adds the pair unless it is there already: the first value stays.
    mutating func insert(_ first: Int32, _ second: Int32, _ value: Value) {
        let key = Self.key(first, second)
        var index = home(key)
        while slots[index].key != Self.vacant {
            if slots[index].key == key { return }
            index = (index + 1) & mask
        }
        guard count < limit else { return }
        slots[index] = Slot(key: key, value: value)
        count += 1
    }

    func find(_ first: Int32, _ second: Int32) -> Value? {
        let key = Self.key(first, second)
        var index = home(key)
        while true {
            let slot = slots[index]
            if slot.key == key { return slot.value }
            if slot.key == Self.vacant { return nil }
            index = (index + 1) & mask
        }
    }

    /// Both numbers are never negative here (ids, nodes, bytes), so no key is `vacant`.
    private static func key(_ first: Int32, _ second: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: first)) << 32 | UInt64(UInt32(bitPattern: second))
    }

    private func home(_ key: UInt64) -> Int {
        var hash = (key ^ key >> 32) &* multiplier
        hash = (hash ^ hash >> 29) &* multiplier
        return Int(truncatingIfNeeded: hash >> 32) & mask
    }
}
