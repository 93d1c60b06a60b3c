import Synchronization

/// Knows how many connections are ready, and wakes those who wait for the first one.
final class ReadyGate: Sendable {
    private struct State {
        var ready = 0
        var waiting: [ObjectIdentifier: ReplyWaiter<Void>] = [:]
    }

    private let state = Mutex(State())

    var isOpen: Bool { count > 0 }

    /// Connections that are ready.
    var count: Int { state.withLock { $0.ready } }

    func note(_ event: RedisLink.Event) {
        let woken = state.withLock { state -> [ReplyWaiter<Void>] in
            switch event {
            case .ready:
                state.ready += 1
                defer { state.waiting = [:] }
                return Array(state.waiting.values)
            case .lost:
                state.ready -= 1
                return []
            case .push, .refused:
                return []
            }
        }
        for waiter in woken { waiter.finish(.success(())) }
    }

    func wait() async throws(RedisError) {
        let waiter = ReplyWaiter<Void>()
        let outcome = await waiter.wait { waiter in
            let isOpen = state.withLock { state in
                if state.ready == 0 { state.waiting[ObjectIdentifier(waiter)] = waiter }
                return state.ready > 0
            }
            if isOpen { waiter.finish(.success(())) }
        }
        _ = state.withLock { $0.waiting.removeValue(forKey: ObjectIdentifier(waiter)) }
        try outcome.get()
    }
}
