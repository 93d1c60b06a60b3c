/// How many messages a consumer may have out, so that their bodies stay within a number of bytes. Pure.
///
/// AMQP bounds what is out by count alone, for each consumer, from its beginning on. So a queue is consumed by several of one
/// channel: by one with a small count at first, by further ones while what is held leaves room for as many of the largest
/// bodies as the broker may still send. They are cancelled when there is no such room any more, and all of them while too much
/// is held. Nothing is given back for it: that would count towards the messages' delivery limit.
///
/// A queue with a single active consumer has one, with the whole count: of several only one would be served.
struct PrefetchPace {
    struct Consumer: Hashable, Sendable {
        let queue: Int
        let number: Int
    }

    enum Change: Equatable {
        case open(Consumer, prefetch: Int)
        case cancel(Consumer)
    }

    private struct Queue {
        let isSingle: Bool
        /// The consumers by number: how many each may have out, and has.
        var open: [Int: (prefetch: Int, out: Int)] = [:]
        /// Deliveries that are out, of cancelled consumers too.
        var held = 0
        /// Messages that the broker may send without being asked.
        var credit = 0
        var lastNumber = 0
    }

    /// A body that is larger is rare: a turn's comes from a request of 1 MiB.
    static let largestBody = 2 << 20
    /// Of each consumer. Many small ones rather than few large: what a lone one may still be sent comes on top of the bound.
    static let step = 16

    private let maximum: Int
    private let maximumBytes: Int
    private var queues: [Queue]
    private var credit = 0
    private(set) var heldBytes = 0

    /// - Parameters:
    ///   - singles: for each queue whether it has a single active consumer.
    ///   - maximum: messages of each queue that may be out.
    ///   - maximumBytes: of all bodies that are out. The first consumers' places may come on top.
    init(singles: [Bool], maximum: Int, maximumBytes: Int) {
        self.maximum = maximum
        self.maximumBytes = maximumBytes
        queues = singles.map { Queue(isSingle: $0) }
    }

    /// With a new channel: nothing is out, and nobody consumes.
    mutating func reset() {
        queues = queues.map { Queue(isSingle: $0.isSingle, lastNumber: $0.lastNumber) }
        (credit, heldBytes) = (0, 0)
    }

    mutating func delivered(to consumer: Consumer, bytes: Int) {
        heldBytes += bytes
        queues[consumer.queue].held += 1
        use(1, of: consumer)
    }

    mutating func settled(of consumer: Consumer, bytes: Int) {
        heldBytes -= bytes
        queues[consumer.queue].held -= 1
        use(-1, of: consumer)
    }

    private mutating func use(_ count: Int, of consumer: Consumer) {
        guard queues[consumer.queue].open[consumer.number] != nil else { return }
        queues[consumer.queue].open[consumer.number]?.out += count
        queues[consumer.queue].credit -= count
        credit -= count
    }

    /// Whether something is to be changed.
    var isDue: Bool { change != nil }

    /// The next change to be made; nil when all is as it should be.
    mutating func next() -> Change? {
        guard let change else { return nil }
        apply(change)
        return change
    }

    /// The next change on the way to no consumer at all.
    mutating func stop() -> Change? {
        guard let last = anyConsumer else { return nil }
        apply(.cancel(last))
        return .cancel(last)
    }

    private mutating func apply(_ change: Change) {
        switch change {
        case .open(let consumer, let prefetch):
            queues[consumer.queue].lastNumber = consumer.number
            queues[consumer.queue].open[consumer.number] = (prefetch, 0)
            queues[consumer.queue].credit += prefetch
            credit += prefetch
        case .cancel(let consumer):
            guard let gone = queues[consumer.queue].open.removeValue(forKey: consumer.number) else { return }
            queues[consumer.queue].credit -= gone.prefetch - gone.out
            credit -= gone.prefetch - gone.out
        }
    }

    private var change: Change? {
        if heldBytes >= maximumBytes { return flexible.map { .cancel($0) } }
        for (index, queue) in queues.enumerated() {
            guard !queue.open.isEmpty else {
                let prefetch = min(queue.isSingle ? maximum : Self.step, maximum - queue.held)
                guard prefetch > 0, heldBytes <= maximumBytes / 4 * 3 else { continue }
                return .open(Consumer(queue: index, number: queue.lastNumber + 1), prefetch: prefetch)
            }
            guard !queue.isSingle else { continue }
            let prefetch = min(Self.step, maximum - queue.held - queue.credit)
            if queue.credit < Self.step / 2, prefetch > 0, credit + prefetch <= room {
                return .open(Consumer(queue: index, number: queue.lastNumber + 1), prefetch: prefetch)
            }
        }
        return credit > room ? idlest.map { .cancel($0) } : nil
    }

    /// How many of the largest bodies may still come.
    private var room: Int { (maximumBytes - heldBytes) / Self.largestBody }

    /// The consumer with the fewest places in use, in the queue with the most free ones of those that have more consumers.
    private var idlest: Consumer? {
        let several = queues.indices.filter { queues[$0].open.count > 1 }
        guard let index = several.max(by: { queues[$0].credit < queues[$1].credit }),
            let idle = queues[index].open.min(by: { ($0.value.out, $0.key) < ($1.value.out, $1.key) })
        else { return nil }
        return Consumer(queue: index, number: idle.key)
    }

    private var anyConsumer: Consumer? { consumer { _ in true } }

    /// One that may be cancelled and opened again: another process would take a single one's place.
    private var flexible: Consumer? { consumer { !$0.isSingle } }

    private func consumer(where isMeant: (Queue) -> Bool) -> Consumer? {
        for (index, queue) in queues.enumerated() where isMeant(queue) {
            if let number = queue.open.keys.max() { return Consumer(queue: index, number: number) }
        }
        return nil
    }
}
