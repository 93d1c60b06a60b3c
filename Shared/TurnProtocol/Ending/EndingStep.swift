/// The one order in which a turn ends. Each step may be repeated, by whoever holds the lease.
public enum EndingStep: Int, Sendable, CaseIterable {
    /// The outcome is kept in the turn's record, hidden; the first one stays.
    case record
    /// It is in the shard's response queue, confirmed: from now on it cannot be lost.
    case settle
    /// The turn is in the context cache: the client's next message may come at once, and must find it.
    case remember
    /// The terminal event stands in the log, and the lease is given back.
    case show
    /// The turn leaves its conversation's order and its user's count.
    case tidyUp

    /// The step after this one; nil after the last, when the delivery may be acknowledged.
    public var next: EndingStep? { EndingStep(rawValue: rawValue + 1) }
}
