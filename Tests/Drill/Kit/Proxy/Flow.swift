/// The bytes on their way in one direction of a proxied connection: first in, first out, each piece not before its time.
/// Pure; times are nanoseconds of any clock that never goes back.
struct Flow {
    /// Bytes that may be under way; beyond it nothing more is read, as a full socket buffer would do.
    static let capacity = 256 << 10

    private struct Piece {
        var bytes: ArraySlice<UInt8>
        let due: UInt64
    }

    private var pieces: [Piece] = []
    private var head = 0
    private var lastDue: UInt64 = 0
    private(set) var count = 0
    /// The sender has said that nothing follows.
    private(set) var hasEnd = false

    var isEmpty: Bool { count == 0 }
    var mayRead: Bool { !hasEnd && count < Flow.capacity }

    mutating func take(_ bytes: [UInt8], at now: UInt64, weather: Weather) {
        guard !bytes.isEmpty else { return }
        var due = now
        if case .slow(let delay, let rate) = weather {
            let transmission = UInt64(bytes.count) * 1_000_000_000 / UInt64(max(1, rate))
            due = max(now, lastDue) + transmission
            due = max(due, now + UInt64(max(0, delay / .nanoseconds(1))))
        }
        // Order outlives a change of weather.
        lastDue = max(due, lastDue)
        pieces.append(Piece(bytes: bytes[...], due: lastDue))
        count += bytes.count
    }

    mutating func end() { hasEnd = true }

    /// When the next bytes may go on; nil when there are none.
    var nextDue: UInt64? { head < pieces.count ? pieces[head].due : nil }

    /// Gives what is due to `write`, which says how much of it was taken; it stops at the first piece not taken whole.
    mutating func pass(at now: UInt64, _ write: (ArraySlice<UInt8>) -> Int) {
        while head < pieces.count, pieces[head].due <= now {
            let taken = write(pieces[head].bytes)
            count -= taken
            pieces[head].bytes = pieces[head].bytes.dropFirst(taken)
            guard pieces[head].bytes.isEmpty else { break }
            head += 1
        }
        if head == pieces.count {
            pieces.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 64 {
            pieces.removeFirst(head)
            head = 0
        }
    }
}
