import Synchronization

/// Lets so many in at a time, and makes nobody wait.
final class Turnstile: Sendable {
    private let free: Mutex<Int>

    init(places: Int) { free = Mutex(places) }

    /// - Returns: false when there is no place; else `leave` has to follow.
    func enter() -> Bool {
        free.withLock { free in
            guard free > 0 else { return false }
            free -= 1
            return true
        }
    }

    func leave() { free.withLock { $0 += 1 } }
}
