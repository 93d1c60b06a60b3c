/// Lets one at a time through, in the order of coming: several calls that belong together must not be mixed with
/// another caller's, although each of them suspends. Belongs to one actor.
final class CallGate {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private let maximumWaiting: Int

    init(maximumWaiting: Int) { self.maximumWaiting = maximumWaiting }

    func enter(isolation: isolated (any Actor)? = #isolation) async throws(RabbitError) {
        guard isTaken else {
            isTaken = true
            return
        }
        guard waiting.count < maximumWaiting else { throw .overloaded }
        await withCheckedContinuation(isolation: isolation) { waiting.append($0) }
    }

    /// Hands the gate to the next one directly, so that nobody who comes now can overtake.
    func leave() {
        guard !waiting.isEmpty else {
            isTaken = false
            return
        }
        waiting.removeFirst().resume()
    }
}
