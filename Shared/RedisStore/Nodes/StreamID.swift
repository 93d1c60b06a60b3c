/// An entry's id in a stream: `<milliseconds>-<sequence>`.
struct StreamID: Comparable, LosslessStringConvertible {
    var milliseconds: UInt64 = 0
    var sequence: UInt64 = 0

    init() {}

    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let milliseconds = UInt64(parts[0]), let sequence = UInt64(parts[1]) else { return nil }
        self.milliseconds = milliseconds
        self.sequence = sequence
    }

    var description: String { "\(milliseconds)-\(sequence)" }

    /// The smallest id above this one.
    var next: StreamID {
        var next = self
        if sequence == .max {
            next.milliseconds &+= 1
            next.sequence = 0
        } else {
            next.sequence += 1
        }
        return next
    }

    static func < (left: StreamID, right: StreamID) -> Bool {
        (left.milliseconds, left.sequence) < (right.milliseconds, right.sequence)
    }
}
