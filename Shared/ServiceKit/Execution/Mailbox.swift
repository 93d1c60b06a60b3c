import Synchronization

/// A bounded queue between whoever hears news (a socket's thread, a relay) and the one task that acts on them.
///
/// Sending never waits: a full mailbox refuses, and remembers that it did, so that the reader knows about the gap. The
/// reader takes everything there is in one go, which is what makes batches of appends and of SSE writes.
public final class Mailbox<Element: Sendable>: Sendable {
    /// What one `receive` returns.
    public struct Delivery: Sendable {
        public let elements: [Element]
        /// Elements were refused since the last delivery: what they said has to be found out in another way.
        public let hasGap: Bool
    }

    fileprivate struct State {
        var elements: [Element] = []
        var hasGap = false
        var isClosed = false
        var reader: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let capacity: Int

    public init(capacity: Int) { self.capacity = capacity }

    /// - Returns: false when the mailbox is full or closed, and the element is not in it.
    @discardableResult
    public func send(_ element: Element) -> Bool {
        let (accepted, reader) = state.withLock { state in
            guard !state.isClosed else { return (false, state.takeReader()) }
            if state.elements.count < capacity {
                state.elements.append(element)
                return (true, state.takeReader())
            }
            state.hasGap = true
            return (false, state.takeReader())
        }
        reader?.resume()
        return accepted
    }

    /// Refuses further elements; the reader still gets what is there, then nil.
    public func close() {
        let reader = state.withLock { state in
            state.isClosed = true
            return state.takeReader()
        }
        reader?.resume()
    }

    /// Everything that came since the last call, as soon as there is something; nil when the mailbox is closed and
    /// empty or the task is cancelled. One task reads.
    public func receive() async -> Delivery? {
        while true {
            let (delivery, isOver) = state.withLock { state -> (Delivery?, Bool) in
                guard state.elements.isEmpty, !state.hasGap else {
                    defer {
                        state.elements = []
                        state.hasGap = false
                    }
                    return (Delivery(elements: state.elements, hasGap: state.hasGap), false)
                }
                return (nil, state.isClosed)
            }
            if let delivery { return delivery }
            if isOver || Task.isCancelled { return nil }
            await waitForNews()
        }
    }

    private func waitForNews() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let hasNews = state.withLock { state in
                    // Between the look and the wait something may have come, or the task may have been cancelled.
                    if !state.elements.isEmpty || state.hasGap || state.isClosed || Task.isCancelled { return true }
                    state.reader = continuation
                    return false
                }
                if hasNews { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.takeReader() }?.resume()
        }
    }
}

extension Mailbox.State {
    fileprivate mutating func takeReader() -> CheckedContinuation<Void, Never>? {
        defer { reader = nil }
        return reader
    }
}
