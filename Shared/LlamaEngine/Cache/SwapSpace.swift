/// The books of the second tier: which slots preempted sequences keep their blocks in, and whether that is cheaper than computing
/// them again.
///
/// A slot holds one block. A sequence that leaves takes a slot for each of its blocks or none, and gives them back when it comes
/// again or ends. Costs are measured: bytes a second out and in, against the scheduler's seconds for a row of prefill.
struct SwapSpace {
    let slotCount: Int
    /// Bytes of one block.
    let blockBytes: Int
    private(set) var freeSlots: [Int32]
    /// Seconds for a byte in both directions together; at first as of a slow disk, so that the first preemptions show what is true.
    private(set) var secondsPerByte = (out: 2e-9, in: 2e-9)
    private(set) var isMeasured = (out: false, in: false)

    /// - Parameter byteCount: 0 turns the second tier off.
    init(byteCount: Int = 0, blockBytes: Int = 0) {
        self.blockBytes = blockBytes
        slotCount = blockBytes > 0 ? min(max(0, byteCount) / blockBytes, Int(Int32.max)) : 0
        freeSlots = (0..<Int32(slotCount)).reversed()
    }

    /// Slots for a sequence's blocks when there are enough and moving them takes less time than computing the tokens.
    mutating func take(blocks: Int, tokens: Int, secondsPerToken: Double) -> [Int32]? {
        guard blocks > 0, freeSlots.count >= blocks else { return nil }
        let moving = Double(blocks * blockBytes) * (secondsPerByte.out + secondsPerByte.in)
        guard moving < Double(tokens) * secondsPerToken else {
            // A disk that was busy once may be idle now: what was measured is believed less each time that it decides.
            secondsPerByte = (secondsPerByte.out * 0.9, secondsPerByte.in * 0.9)
            return nil
        }
        defer { freeSlots.removeLast(blocks) }
        return freeSlots.suffix(blocks).reversed()
    }

    mutating func giveBack(_ slots: some Sequence<Int32>) { freeSlots += slots }

    /// Takes in how long blocks took to be moved.
    mutating func record(out blocks: Int, seconds: Double) {
        secondsPerByte.out = average(secondsPerByte.out, isMeasured.out, blocks, seconds)
        isMeasured.out = isMeasured.out || blocks > 0
    }

    /// Takes in how long blocks took to be moved back.
    mutating func record(in blocks: Int, seconds: Double) {
        secondsPerByte.in = average(secondsPerByte.in, isMeasured.in, blocks, seconds)
        isMeasured.in = isMeasured.in || blocks > 0
    }

    private func average(_ old: Double, _ isMeasured: Bool, _ blocks: Int, _ seconds: Double) -> Double {
        guard blocks > 0, seconds.isFinite, seconds >= 0 else { return old }
        let new = seconds / Double(blocks * blockBytes)
        return isMeasured ? old + 0.3 * (new - old) : new
    }

    /// Checks that every slot is either free or one sequence's, once.
    func verify(owners: some Sequence<[Int32]>) throws(IntegrityFault) {
        var count = [Int](repeating: 0, count: slotCount)
        for slots in owners {
            for slot in slots where count.indices.contains(Int(slot)) { count[Int(slot)] += 1 }
        }
        for slot in freeSlots where count.indices.contains(Int(slot)) { count[Int(slot)] += 1 }
        if let slot = count.firstIndex(where: { $0 != 1 }) {
            throw IntegrityFault(description: "swap slot \(slot) is listed \(count[slot]) times")
        }
    }
}

/// What becomes of blocks before a step writes, in this order and no other: a later move may overwrite what an earlier one read.
enum BlockMove: Equatable {
    case copy(BlockCopy)
    /// A block's contents into a slot of the second tier.
    case swapOut(block: Int32, slot: Int32)
    case swapIn(slot: Int32, block: Int32)
}
