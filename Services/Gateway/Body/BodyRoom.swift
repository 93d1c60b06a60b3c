import ServiceKit
import Synchronization

/// How many bytes of request bodies a gateway holds at a time, in all and of each key. Bytes count as they come, and until the
/// turn that they ask for is accepted or refused: clients that begin bodies and never end them cost no more than that.
final class BodyRoom: Sendable {
    private struct State {
        var held = 0
        var refusals = 0
        var keys: [String: Int] = [:]
    }

    private let maximumBytes: Int
    /// Of one key: half, so that nobody's bodies keep everybody else's out.
    private let maximumBytesOfKey: Int
    private let state = Mutex(State())

    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
        maximumBytesOfKey = maximumBytes / 2
    }

    /// What the requests that are being read hold.
    var heldBytes: Int { state.withLock { $0.held } }
    /// Requests that found no room so far.
    var refusals: Int { state.withLock { $0.refusals } }

    /// Shows both in `registry` for as long as this lives.
    func show(in registry: MetricRegistry) {
        registry.observe(Measures.bodyBytes) { [weak self] in Double(self?.heldBytes ?? 0) }
        registry.observe(Measures.bodiesRefused) { [weak self] in Double(self?.refusals ?? 0) }
    }

    /// Runs `body` with a place for one request; what the request has taken is free when it ends.
    func withPlace<Result>(of key: String, _ body: (Place) async throws -> Result) async rethrows -> Result {
        let place = Place(room: self, key: key)
        defer { place.leave() }
        return try await body(place)
    }

    /// One request's share.
    final class Place: Sendable {
        private let room: BodyRoom
        private let key: String
        private let bytes = Mutex(0)

        fileprivate init(room: BodyRoom, key: String) {
            self.room = room
            self.key = key
        }

        /// - Throws: `APIError` 503 when there is no room for them.
        func take(_ count: Int) throws(APIError) {
            guard room.take(count, of: key) else { throw .tooManyBodies }
            bytes.withLock { $0 += count }
        }

        fileprivate func leave() { room.free(bytes.withLock { $0 }, of: key) }
    }

    private func take(_ count: Int, of key: String) -> Bool {
        state.withLock { state in
            let own = state.keys[key] ?? 0
            guard count <= maximumBytes - state.held, count <= maximumBytesOfKey - own else {
                state.refusals += 1
                return false
            }
            state.held += count
            state.keys[key] = own + count
            return true
        }
    }

    private func free(_ count: Int, of key: String) {
        guard count > 0 else { return }
        state.withLock { state in
            state.held -= count
            let left = (state.keys[key] ?? 0) - count
            state.keys[key] = left > 0 ? left : nil
        }
    }
}
