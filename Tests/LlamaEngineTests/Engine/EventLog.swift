import Foundation

@testable import LlamaEngine

/// Collects an engine's events; tests wait for conditions on them.
final class EventLog: @unchecked Sendable {  // guarded by `lock`
    private let lock = NSLock()
    private var all: [TokenEvent] = []
    private var waiters: [(condition: ([TokenEvent]) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []

    var events: [TokenEvent] { lock.withLock { all } }

    func append(_ events: [TokenEvent]) {
        let ready = lock.withLock {
            all += events
            let ready = waiters.filter { $0.condition(all) }
            waiters.removeAll { $0.condition(all) }
            return ready
        }
        for waiter in ready { waiter.continuation.resume() }
    }

    func wait(until condition: @escaping @Sendable ([TokenEvent]) -> Bool) async {
        await withCheckedContinuation { continuation in
            let ready = lock.withLock {
                if condition(all) { return true }
                waiters.append((condition, continuation))
                return false
            }
            if ready { continuation.resume() }
        }
    }

    /// Waits until all these requests have ended.
    func waitForEnd(of ids: some Sequence<UInt64>) async {
        let ids = Set(ids)
        await wait { events in
            ids.isSubset(of: events.lazy.filter { $0.finish != nil }.map(\.request))
        }
    }

    func tokens(of id: UInt64) -> [Int32] {
        events.filter { $0.request == id && $0.token != TokenEvent.none }.map(\.token)
    }

    func finish(of id: UInt64) -> FinishReason? {
        events.last { $0.request == id }?.finish
    }
}
