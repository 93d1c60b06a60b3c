/// The publishes of one channel that wait for their confirm. Pure; `Waiter` is whoever is to be told.
///
/// Source: RabbitMQ's publisher confirms. Sequence numbers count from 1 on each channel; an acknowledgement may cover all
/// up to its own; a returned message comes back before it is acknowledged.
struct PublishWindow<Waiter> {
    typealias Settled = (waiter: Waiter, result: Result<Void, RabbitError>)

    private struct Entry {
        let queue: String
        let id: String
        let deadline: ContinuousClock.Instant
        let waiter: Waiter
        var isReturned = false
    }

    private var entries: [UInt64: Entry] = [:]
    private var nextSequence: UInt64 = 1
    /// No entry has a lower number.
    private var lowest: UInt64 = 1
    /// The channel routes in the order of the publishes, so returns come in that order too: the next is above this one.
    private var lastReturned: UInt64 = 0

    var count: Int { entries.count }

    mutating func add(queue: String, id: String, deadline: ContinuousClock.Instant, waiter: Waiter) -> UInt64 {
        defer { nextSequence += 1 }
        entries[nextSequence] = Entry(queue: queue, id: id, deadline: deadline, waiter: waiter)
        return nextSequence
    }

    mutating func returned(queue: String, id: String) {
        var sequence = max(lowest, lastReturned + 1)
        while sequence < nextSequence {
            if let entry = entries[sequence], entry.id == id, entry.queue == queue {
                entries[sequence]?.isReturned = true
                lastReturned = sequence
                return
            }
            sequence += 1
        }
    }

    /// - Parameter isAccepted: basic.ack; false for basic.nack.
    /// - Throws: when the broker confirms what was never published.
    mutating func confirm(_ tag: UInt64, multiple: Bool, isAccepted: Bool) throws(RabbitError) -> [Settled] {
        // AMQP: tag 0 with multiple means all so far.
        let last = tag == 0 && multiple ? nextSequence - 1 : tag
        guard last < nextSequence, tag > 0 || multiple else { throw .protocolViolation("confirm of \(tag)") }
        var settled: [Settled] = []
        var sequence = multiple ? lowest : last
        while sequence <= last {
            if let entry = entries.removeValue(forKey: sequence) { settled.append(Self.settle(entry, isAccepted)) }
            sequence += 1
        }
        if multiple { lowest = max(lowest, last + 1) }
        return settled
    }

    private static func settle(_ entry: Entry, _ isAccepted: Bool) -> Settled {
        if entry.isReturned { return (entry.waiter, .failure(.unroutable(queue: entry.queue))) }
        return (entry.waiter, isAccepted ? .success(()) : .failure(.rejected(queue: entry.queue)))
    }

    mutating func remove(_ sequence: UInt64) -> Waiter? {
        entries.removeValue(forKey: sequence)?.waiter
    }

    /// When the one that waits longest is to be given up. All wait equally long, so that is the lowest.
    mutating func earliestDeadline() -> ContinuousClock.Instant? {
        guard !entries.isEmpty else {
            lowest = nextSequence
            return nil
        }
        while lowest < nextSequence, entries[lowest] == nil { lowest += 1 }
        return entries[lowest]?.deadline
    }

    mutating func expire(at now: ContinuousClock.Instant) -> [Waiter] {
        var expired: [Waiter] = []
        while let deadline = earliestDeadline(), deadline <= now {
            if let entry = entries.removeValue(forKey: lowest) { expired.append(entry.waiter) }
        }
        return expired
    }

    /// Lets go of all who wait. Their confirms may still come: the numbers go on.
    mutating func abandonAll() -> [Waiter] {
        defer { entries = [:] }
        return entries.sorted { $0.key < $1.key }.map(\.value.waiter)
    }

    /// Begins anew, with a new channel.
    mutating func removeAll() -> [Waiter] {
        defer { self = PublishWindow() }
        return entries.sorted { $0.key < $1.key }.map(\.value.waiter)
    }
}
