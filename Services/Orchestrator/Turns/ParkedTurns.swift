import ChatCore

/// Turns that wait on the retry ladder, until they are due, within a count and a number of bytes: those that are due first
/// make room. Pure.
struct ParkedTurns {
    private struct Place {
        let turn: Turn
        let bytes: Int
        let until: ContinuousClock.Instant
    }

    private let maximumCount: Int
    private let maximumBytes: Int
    private var places: [TurnID: Place] = [:]
    private(set) var bytes = 0

    var count: Int { places.count }

    init(maximumCount: Int, maximumBytes: Int) {
        self.maximumCount = maximumCount
        self.maximumBytes = maximumBytes
    }

    /// - Parameter until: when it has been taken by somebody, here or elsewhere, and is forgotten.
    mutating func add(_ turn: Turn, until: ContinuousClock.Instant, at now: ContinuousClock.Instant) {
        _ = remove(turn.id)
        for (id, place) in places where place.until <= now { _ = remove(id) }
        let size = turn.wireBytes
        guard size <= maximumBytes else { return }
        while places.count >= maximumCount || bytes + size > maximumBytes,
            let next = places.min(by: { $0.value.until < $1.value.until })?.key
        {
            _ = remove(next)
        }
        places[turn.id] = Place(turn: turn, bytes: size, until: until)
        bytes += size
    }

    mutating func remove(_ turn: TurnID) -> Turn? {
        guard let place = places.removeValue(forKey: turn) else { return nil }
        bytes -= place.bytes
        return place.turn
    }
}
