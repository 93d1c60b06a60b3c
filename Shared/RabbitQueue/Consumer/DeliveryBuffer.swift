import Synchronization

/// Deliveries that nobody took yet. The broker's prefetch bounds it, and deliveries of a dead channel are taken out.
///
/// Not AsyncStream's own buffer: nothing can be taken out of that, so that it would hold the dead of every reconnect.
final class DeliveryBuffer: Sendable {
    private typealias Taker = CheckedContinuation<Delivery?, Never>

    private struct State {
        var untaken: [Delivery] = []
        /// Those before it were taken; they are cut off when they are half of the array.
        var head = 0
        var takers: [(id: UInt64, continuation: Taker)] = []
        var lastTaker: UInt64 = 0
        var isFinished = false

        mutating func removeUntaken() -> [Delivery] {
            defer { (untaken, head) = ([], 0) }
            return Array(untaken[head...])
        }

        mutating func pop() -> Delivery? {
            guard head < untaken.count else { return nil }
            let first = untaken[head]
            head += 1
            if head * 2 >= untaken.count {
                untaken.removeFirst(head)
                head = 0
            }
            return first
        }
    }

    private let state = Mutex(State())

    /// The deliveries as a sequence. It may be iterated by several tasks; when one of them is cancelled, it ends.
    var stream: AsyncStream<Delivery> {
        AsyncStream { [self] in await next() }
    }

    func push(_ delivery: Delivery) {
        let taker = state.withLock { state -> Taker? in
            guard state.takers.isEmpty else { return state.takers.removeFirst().continuation }
            if !state.isFinished { state.untaken.append(delivery) }
            return nil
        }
        taker?.resume(returning: delivery)
    }

    /// Takes out what nobody took.
    func removeUntaken() -> [Delivery] {
        state.withLock { $0.removeUntaken() }
    }

    /// Ends the sequence for those who wait and all who come.
    func finish() {
        let takers = state.withLock { state in
            state.isFinished = true
            defer { state.takers = [] }
            return state.takers
        }
        for taker in takers { taker.continuation.resume(returning: nil) }
    }

    private func next() async -> Delivery? {
        let id = state.withLock { state in
            state.lastTaker += 1
            return state.lastTaker
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Delivery?? = state.withLock { state in
                    if Task.isCancelled { return .some(nil) }
                    if let first = state.pop() { return first }
                    if state.isFinished { return .some(nil) }
                    state.takers.append((id, continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let taker = state.withLock { state -> Taker? in
                guard let position = state.takers.firstIndex(where: { $0.id == id }) else { return nil }
                return state.takers.remove(at: position).continuation
            }
            taker?.resume(returning: nil)
        }
    }
}
