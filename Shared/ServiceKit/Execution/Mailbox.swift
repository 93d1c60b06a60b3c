import Synchronization

/// A bounded queue between whoever hears news (a socket's thread, a relay) and the one task that acts on them.
///
/// Sending never waits: a full mailbox refuses, and remembers that it did, so that the reader knows about the gap. The
/// reader takes everything there is in one go, which is what makes batches of appends and of SSE writes. A reader that would
/// rather have fewer and larger batches holds its mail for a while.
///
/// It stands between any two hops of a token, so all of it is inlinable: for elements of other modules it would otherwise run
/// through witness tables.
public final class Mailbox<Element: Sendable>: Sendable {
    /// What one `receive` returns.
    public struct Delivery: Sendable {
        public let elements: [Element]
        /// Elements were refused since the last delivery: what they said has to be found out in another way.
        public let hasGap: Bool

        @inlinable
        init(elements: [Element], hasGap: Bool) {
            self.elements = elements
            self.hasGap = hasGap
        }
    }

    @usableFromInline
    struct State {
        @usableFromInline var elements: [Element] = []
        @usableFromInline var hasGap = false
        @usableFromInline var isClosed = false
        /// What is not urgent waits for `release`.
        @usableFromInline var isHolding = false
        @usableFromInline var isDue = false
        /// Resumed by whoever takes it out of here, so once.
        @usableFromInline var reader: UnsafeContinuation<Void, Never>?

        @inlinable
        init() {}

        @inlinable
        mutating func takeReader() -> UnsafeContinuation<Void, Never>? {
            defer { reader = nil }
            return reader
        }
    }

    @usableFromInline let state: Mutex<State>
    @usableFromInline let capacity: Int

    @inlinable
    public init(capacity: Int) {
        self.capacity = capacity
        state = Mutex(State())
    }

    /// - Parameter isUrgent: false lets the element wait while the reader holds its mail.
    /// - Returns: false when the mailbox is full or closed, and the element is not in it.
    @inlinable @discardableResult
    public func send(_ element: Element, isUrgent: Bool = true) -> Bool {
        let (accepted, reader) = state.withLock { state in
            guard !state.isClosed else { return (false, state.takeReader()) }
            let accepted = state.elements.count < capacity
            if accepted { state.elements.append(element) } else { state.hasGap = true }
            guard isUrgent || !state.isHolding || !accepted else { return (true, nil) }
            state.isDue = true
            return (accepted, state.takeReader())
        }
        reader?.resume()
        return accepted
    }

    /// From now on what is not urgent waits, until `release` or until something urgent takes it along.
    @inlinable
    public func hold() { state.withLock { $0.isHolding = true } }

    /// Ends `hold`: the reader gets what has waited.
    @inlinable
    public func release() {
        let reader = state.withLock { state in
            state.isHolding = false
            guard !state.elements.isEmpty else { return nil as UnsafeContinuation<Void, Never>? }
            state.isDue = true
            return state.takeReader()
        }
        reader?.resume()
    }

    /// Refuses further elements; the reader still gets what is there, then nil.
    @inlinable
    public func close() {
        let reader = state.withLock { state in
            state.isClosed = true
            return state.takeReader()
        }
        reader?.resume()
    }

    /// Everything that came since the last call, as soon as there is something; nil when the mailbox is closed and
    /// empty or the task is cancelled. One task reads.
    @inlinable
    public func receive() async -> Delivery? {
        while true {
            let (delivery, isOver) = state.withLock { state -> (Delivery?, Bool) in
                guard state.isDue || state.isClosed && !state.elements.isEmpty else { return (nil, state.isClosed) }
                defer {
                    state.elements = []
                    state.hasGap = false
                    state.isDue = false
                }
                return (Delivery(elements: state.elements, hasGap: state.hasGap), false)
            }
            if let delivery { return delivery }
            if isOver || Task.isCancelled { return nil }
            await waitForNews()
        }
    }

    @inlinable
    func waitForNews() async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
                let hasNews = state.withLock { state in
                    // Between the look and the wait something may have come, or the task may have been cancelled.
                    if state.isDue || state.isClosed || Task.isCancelled { return true }
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
