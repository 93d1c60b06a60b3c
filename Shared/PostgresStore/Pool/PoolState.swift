import ServiceKit

/// Who has a pool's connections and who waits for one: a state machine without I/O, whose answers say what to do.
///
/// A connection counts as open from the moment it is begun until it is closed, so that `open` never exceeds `size`.
struct PoolState<Connection: AnyObject> {
    typealias Instant = ContinuousClock.Instant

    /// A caller in the queue.
    typealias Waiter = UInt64

    let size: Int
    let maximumWaiters: Int

    private(set) var open = 0
    private(set) var connecting = 0
    /// The last returned is lent first, so that what is not needed grows old and is tested.
    private(set) var idle: [(connection: Connection, since: Instant)] = []
    private(set) var waiters: [Waiter] = []
    private(set) var isClosed = false
    private(set) var lastFailure: DatabaseError?
    private var lastRefusedEntry: (error: DatabaseError, at: Instant)?
    private var backoff: Backoff
    private var noAttemptBefore: Instant?

    init(size: Int, maximumWaiters: Int, backoff: Backoff) {
        self.size = size
        self.maximumWaiters = maximumWaiters
        self.backoff = backoff
    }

    /// Connections that a server answered on.
    var established: Int { open - connecting }

    /// While there is no connection another one is tried every few seconds: after this time without a refusal nobody has
    /// tried again, since those that are there suffice.
    static var refusedEntryLifetime: Duration { .seconds(10) }

    /// Why the last attempt was not let in, for as long as that is believed.
    func refusedEntry(at now: Instant) -> DatabaseError? {
        lastRefusedEntry.flatMap { $0.at + Self.refusedEntryLifetime > now ? $0.error : nil }
    }

    // MARK: Callers

    enum Acquisition {
        case lend(Connection)
        /// Wait; and begin a connection when asked to.
        case wait(connects: Bool)
        case refuse(Refusal)
    }

    enum Refusal: Equatable {
        case closed
        case overloaded
        /// The server was away a moment ago; nothing but the next attempt can help.
        case away(DatabaseError)
    }

    mutating func acquire(_ waiter: Waiter, now: Instant) -> Acquisition {
        guard !isClosed else { return .refuse(.closed) }
        if let (connection, _) = idle.popLast() { return .lend(connection) }
        if let lastFailure, established == 0, !mayAttempt(now) { return .refuse(.away(lastFailure)) }
        guard waiters.count < maximumWaiters else { return .refuse(.overloaded) }
        waiters.append(waiter)
        return .wait(connects: beginsConnection(now))
    }

    /// The caller no longer waits. - Returns: false when it has been served meanwhile.
    mutating func leave(_ waiter: Waiter) -> Bool {
        guard let position = waiters.firstIndex(of: waiter) else { return false }
        waiters.remove(at: position)
        return true
    }

    // MARK: Connections

    enum Placement {
        case hand(to: Waiter)
        case keep
        case close
    }

    /// A usable connection came back, or was made.
    private mutating func place(_ connection: Connection, now: Instant) -> Placement {
        if isClosed {
            open -= 1
            return .close
        }
        guard !waiters.isEmpty else {
            idle.append((connection, now))
            return .keep
        }
        return .hand(to: waiters.removeFirst())
    }

    mutating func release(_ connection: Connection, now: Instant) -> Placement { place(connection, now: now) }

    mutating func connected(_ connection: Connection, now: Instant) -> Placement {
        connecting -= 1
        lastFailure = nil
        lastRefusedEntry = nil
        noAttemptBefore = nil
        backoff.reset()
        return place(connection, now: now)
    }

    /// No connection could be made.
    /// - Returns: the callers to be told so: all, when nothing is left that could serve them.
    mutating func connectFailed(_ error: DatabaseError, now: Instant) -> [Waiter] {
        connecting -= 1
        open -= 1
        lastFailure = error
        if error.isEntryRefused { lastRefusedEntry = (error, now) }
        // Attempts that were under way together count as one.
        if noAttemptBefore.map({ $0 <= now }) ?? true { noAttemptBefore = now + backoff.next() }
        guard open == 0 else { return [] }
        defer { waiters = [] }
        return waiters
    }

    /// A lent connection ended.
    /// - Returns: whether to begin another for those who wait, or else the callers that nothing is left to serve.
    mutating func discarded(now: Instant) -> (connects: Bool, refused: [Waiter]) {
        open -= 1
        if beginsConnection(now) { return (true, []) }
        guard open == 0 else { return (false, []) }
        defer { waiters = [] }
        return (false, waiters)
    }

    /// The server closed a connection. - Returns: false when it is lent: then its borrower's release tells.
    mutating func idleEnded(_ connection: Connection) -> Bool {
        guard let position = idle.firstIndex(where: { $0.connection === connection }) else { return false }
        idle.remove(at: position)
        open -= 1
        return true
    }

    // MARK: Upkeep

    /// Whether to begin a connection because there is none, so that the server's return is noticed without callers.
    mutating func reconnects(now: Instant) -> Bool {
        guard !isClosed, open == 0, mayAttempt(now) else { return false }
        open += 1
        connecting += 1
        return true
    }

    /// Takes out the connection that was idle longest, at least `age`, to be tested and released or discarded.
    mutating func takeForTest(olderThan age: Duration, now: Instant) -> Connection? {
        guard !isClosed, let first = idle.first, now - first.since >= age else { return nil }
        return idle.removeFirst().connection
    }

    /// Takes out all that are idle, to be closed; those who ask next wait for new ones.
    mutating func takeIdle() -> [Connection] {
        defer {
            open -= idle.count
            idle = []
        }
        return idle.map(\.connection)
    }

    /// - Returns: the idle connections to be closed and the callers to be refused.
    mutating func close() -> (connections: [Connection], waiters: [Waiter]) {
        isClosed = true
        defer {
            open -= idle.count
            idle = []
            waiters = []
        }
        return (idle.map(\.connection), waiters)
    }

    private func mayAttempt(_ now: Instant) -> Bool { noAttemptBefore.map { $0 <= now } ?? true }

    private mutating func beginsConnection(_ now: Instant) -> Bool {
        guard !isClosed, open < size, waiters.count > connecting, mayAttempt(now) else { return false }
        open += 1
        connecting += 1
        return true
    }
}
