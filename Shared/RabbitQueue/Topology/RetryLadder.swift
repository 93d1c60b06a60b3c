/// Fixed-delay queues through which a turn goes back to its own queue later.
///
/// One queue for each delay, because a message's time to live is looked at only at its queue's head: in one queue with
/// mixed delays a long one would hold up every short one behind it. Requeueing is no way to wait: it counts as a failed
/// delivery and comes back at once.
///
/// What has waited arrives in ``dueQueue``, not in its own queue: the broker takes a message's expiration away when it
/// dies in a rung (measured on 3.10), and a turn without one would outlive its deadline while no orchestrator runs, and
/// everything behind it too. Whoever takes from the due queue publishes the turn with the time that is left.
public struct RetryLadder: Sendable {
    /// The rungs' delays in seconds.
    public static let delays = [1, 2, 4, 8, 16, 32, 64]

    public static let dueQueue = "retry.due"

    public init() {}

    /// `retry.<seconds>s`
    public func queue(rung: Int) -> String {
        "retry.\(Self.delays[min(max(rung, 0), Self.delays.count - 1)])s"
    }

    /// The queue to publish the n-th retry to (n from 0): the rung n or one below, so that turns that failed together
    /// do not all come back together. `random` is injected so that a failing run can be repeated.
    public func queue(attempt: Int, using random: inout some RandomNumberGenerator) -> String {
        let highest = min(max(attempt, 0), Self.delays.count - 1)
        return queue(rung: Int.random(in: max(0, highest - 1)...highest, using: &random))
    }

    public func queue(attempt: Int) -> String {
        var random = SystemRandomNumberGenerator()
        return queue(attempt: attempt, using: &random)
    }

    /// The due queue and the rungs, in the order in which they have to be declared. A rung holds few of all turns, each
    /// for seconds: a quarter of the bytes is enough.
    public func declarations(within bounds: QueueBounds = QueueBounds()) -> [QueueDeclaration] {
        [.work(Self.dueQueue, within: bounds.quarter)]
            + Self.delays.enumerated().map { rung, seconds in
                .retry(
                    queue(rung: rung), delay: .seconds(seconds), returningTo: Self.dueQueue, within: bounds.quarter)
            }
    }
}
