import Logging
import Metrics
import ServiceKit
import ServiceLifecycle
import Synchronization

/// The connections to one shard, all on one thread.
///
/// It connects when somebody asks, so it works before and without ``run()``; running it adds upkeep: it reconnects with
/// backoff while the server is away, and tests connections that nobody used for a while.
///
/// Borrowing goes through the shard's circuit breaker, and what writes through a second one, which opens while the server
/// answers and takes no writes: while one is open, its callers are refused at once as `unavailable`.
public final class PostgresPool: Service, Sendable {
    typealias Wait = CheckedContinuation<Result<PostgresConnection, DatabaseError>, Never>

    /// A caller in the queue, and the clock that ends its patience.
    struct Waiting {
        let wait: Wait
        var expiry: Task<Void, Never>?

        func end(with result: Result<PostgresConnection, DatabaseError>) {
            expiry?.cancel()
            wait.resume(returning: result)
        }
    }

    struct Guarded {
        var state: PoolState<PostgresConnection>
        var waits: [UInt64: Waiting] = [:]
        var lastWaiter: UInt64 = 0
        /// Those who wait in ``close()`` for the last connection to end.
        var closers: [CheckedContinuation<Void, Never>] = []
        var isThreadEnded = false
        /// Connections of an earlier one are not lent again.
        var generation: UInt64 = 0
        var leftServerAt: ContinuousClock.Instant?
    }

    public let name: String
    let configuration: DatabaseConfiguration
    private let target: ConnectionTarget
    private let executor: SocketExecutor
    private let logger: Logger
    /// Named `database.` and the shard's name.
    public let breaker: DependencyBreaker
    /// The same for what writes, named `database.`, the shard's name, and `.writes`.
    public let writes: DependencyBreaker
    /// Whether it is a server that says so which keeps `writes` open: then it is asked, and no write is risked.
    let isReadOnly = Atomic(false)
    private let traits = ServerTraits()
    let guarded: Mutex<Guarded>
    let waitTime: Timer
    let queryTime: Timer

    init(shard: DatabaseConfiguration.Shard, configuration: DatabaseConfiguration, logger: Logger) {
        name = shard.name
        target = shard.target
        self.configuration = configuration
        executor = SocketExecutor(name: "pg-\(shard.name)")
        var logger = logger
        logger[metadataKey: "shard"] = "\(shard.name)"
        self.logger = logger
        var policy = CircuitBreaker.Policy()
        // Statements and connections have far more time than commands to Redis: the third failure has taken long enough.
        policy.failures = 3
        breaker = DependencyBreaker("database.\(shard.name)", policy: policy, logger: logger)
        writes = DependencyBreaker("database.\(shard.name).writes", policy: policy, logger: logger)
        waitTime = Measures.poolWait(shard.name)
        queryTime = Measures.shardQuery(shard.name)
        let state = PoolState<PostgresConnection>(
            size: configuration.poolSize, maximumWaiters: configuration.maximumWaiters, backoff: Backoff())
        guarded = Mutex(Guarded(state: state))
    }

    deinit {
        // A pool that nobody closed: its connections are idle, since a borrower would hold the pool.
        let connections = guarded.withLock { $0.state.close().connections }
        let executor = executor
        guard !guarded.withLock({ $0.isThreadEnded }) else { return }
        Task {
            for connection in connections { await connection.close() }
            executor.shutDown()
        }
    }

    /// Whether a connection is open. False before the first one; ``ping()`` asks the server itself.
    public var isAvailable: Bool { guarded.withLock { $0.state.established > 0 } }

    /// Whether statements that write are let through: as far as is known, the server answers and takes writes.
    public var takesWrites: Bool { breaker.state == .closed && writes.state == .closed }

    /// Why the server does not let this process in; nil when it was not refused in the last seconds.
    public var refusedEntry: String? { guarded.withLock { $0.state.refusedEntry(at: .now)?.description } }

    /// Connections that are lent, and those that wait to be.
    var connections: (busy: Int, idle: Int) {
        guarded.withLock { ($0.state.established - $0.state.idle.count, $0.state.idle.count) }
    }

    // MARK: Borrowing

    /// A free connection, which has to come back through ``giveBack(_:)``.
    func acquire(patience: Duration) async throws(DatabaseError) -> PostgresConnection {
        guard !Task.isCancelled else { throw .cancelled }
        let waiter = guarded.withLock { guarded in
            guarded.lastWaiter += 1
            return guarded.lastWaiter
        }
        // The connection, if any, is lent under the same lock that takes the caller out of the queue: a cancellation
        // and a lending cannot both win.
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (wait: Wait) in enqueue(waiter, wait, patience: patience) }
        } onCancel: {
            fail(waiter, with: .cancelled)
        }
        return try result.get()
    }

    private func enqueue(_ waiter: UInt64, _ wait: Wait, patience: Duration) {
        let (result, connects) = guarded.withLock { guarded -> (Result<PostgresConnection, DatabaseError>?, Bool) in
            switch guarded.state.acquire(waiter, now: .now) {
            case .lend(let connection):
                return (.success(connection), false)
            case .wait(let connects):
                guarded.waits[waiter] = Waiting(wait: wait)
                return (nil, connects)
            case .refuse(.closed):
                return (.failure(.unavailable(shard: name, reason: "the pool is closed")), false)
            case .refuse(.overloaded):
                return (.failure(.overloaded(shard: name)), false)
            case .refuse(.away(let error)):
                return (.failure(error), false)
            }
        }
        if let result { return wait.resume(returning: result) }
        if connects { beginConnection() }
        // Cancelled before it stood in the queue: the handler found nobody.
        if Task.isCancelled { return fail(waiter, with: .cancelled) }
        let expiry = Task { [weak self] in
            do { try await Task.sleep(for: patience) } catch { return }
            self?.expire(waiter)
        }
        let stillWaits = guarded.withLock { guarded in
            guarded.waits[waiter]?.expiry = expiry
            return guarded.waits[waiter] != nil
        }
        if !stillWaits { expiry.cancel() }
    }

    private func expire(_ waiter: UInt64) {
        let isConnected = isAvailable
        fail(
            waiter,
            with: isConnected ? .overloaded(shard: name) : .unavailable(shard: name, reason: "no connection in time"))
    }

    private func fail(_ waiter: UInt64, with error: DatabaseError) {
        let wait = guarded.withLock { guarded in
            guarded.state.leave(waiter) ? guarded.waits.removeValue(forKey: waiter) : nil
        }
        wait?.end(with: .failure(error))
    }

    /// Takes a connection back: clean ones go to the next caller, all others are closed.
    func giveBack(_ connection: PostgresConnection) async {
        let isCurrent = connection.generation == guarded.withLock({ $0.generation })
        guard isCurrent, connection.isClean.load(ordering: .acquiring) else {
            await connection.close()
            let (connects, refused, reason) = guarded.withLock { guarded in
                let (connects, waiters) = guarded.state.discarded(now: .now)
                return (
                    connects, waiters.compactMap { guarded.waits.removeValue(forKey: $0) },
                    guarded.state.lastFailure ?? .unavailable(shard: name, reason: "the connection ended")
                )
            }
            if connects { beginConnection() }
            for wait in refused { wait.end(with: .failure(reason)) }
            return finishClosing()
        }
        await place(connection) { $0.release(connection, now: .now) }
    }

    private func place(
        _ connection: PostgresConnection,
        _ decide: (inout PoolState<PostgresConnection>) -> PoolState<PostgresConnection>.Placement
    ) async {
        let (wait, closes) = guarded.withLock { guarded -> (Waiting?, Bool) in
            switch decide(&guarded.state) {
            case .hand(let waiter): (guarded.waits.removeValue(forKey: waiter), false)
            case .keep: (nil, false)
            case .close: (nil, true)
            }
        }
        wait?.end(with: .success(connection))
        guard closes else {
            // It may have ended between the borrower's last word and now, when no one looked.
            if wait == nil, !connection.isClean.load(ordering: .acquiring) { connectionEnded(connection) }
            return
        }
        await connection.close()
        finishClosing()
    }

    // MARK: Connecting

    private func beginConnection() {
        Task { [weak self] in await self?.connect() }
    }

    private func connect() async {
        let connection: PostgresConnection
        do throws(DatabaseError) {
            connection = try await open()
        } catch {
            logger.warning("cannot connect to the database", metadata: ["error": "\(error)"])
            // Nobody may be asking; a permit is refused when the breaker knows already.
            if let permit = try? breaker.admit() { breaker.settle(permit, .failure, reason: error.description) }
            let waits = guarded.withLock { guarded in
                guarded.state.connectFailed(error, now: .now).compactMap { guarded.waits.removeValue(forKey: $0) }
            }
            for wait in waits { wait.end(with: .failure(error)) }
            return finishClosing()
        }
        logger.debug("connected to the database")
        breaker.reconnected()
        await place(connection) { $0.connected(connection, now: .now) }
    }

    private func open() async throws(DatabaseError) -> PostgresConnection {
        // Of several hosts the one that takes writes; while none does, any can be read.
        let givesSettings = traits.takesOptions.load(ordering: .relaxed)
        if target.hasChoice, let connection = try? await open(forWriting: true, givesSettings: givesSettings) {
            return connection
        }
        do throws(DatabaseError) {
            return try await open(forWriting: false, givesSettings: givesSettings)
        } catch {
            // Connections open side by side: each that gave settings tries again, the first of them says so.
            guard givesSettings, case .unavailable(_, let reason, _) = error,
                reason.contains("unsupported startup parameter")
            else { throw error }
            if traits.takesOptions.exchange(false, ordering: .relaxed) {
                logger.notice(
                    "a pooler takes no settings: the server's own statement_timeout holds",
                    metadata: ["error": "\(error)"])
            }
            return try await open(forWriting: false, givesSettings: false)
        }
    }

    private func open(forWriting isForWriting: Bool, givesSettings: Bool) async throws(DatabaseError)
        -> PostgresConnection
    {
        let connection = PostgresConnection(
            executor: executor, shard: name, statementTimeout: configuration.statementTimeout, traits: traits,
            generation: guarded.withLock { $0.generation }
        ) { [weak self] connection in self?.connectionEnded(connection) }
        try await connection.open(
            target.parameters(
                statementTimeout: givesSettings ? configuration.statementTimeout : nil, isForWriting: isForWriting),
            timeout: configuration.connectTimeout)
        return connection
    }

    /// Called on the connection's thread when the session is closed, whoever closed it.
    private func connectionEnded(_ connection: PostgresConnection) {
        let wasIdle = guarded.withLock { $0.state.idleEnded(connection) }
        if wasIdle {
            logger.info("an idle database connection ended")
            finishClosing()
        }
    }

    // MARK: Upkeep

    /// Connections idle for longer are tested.
    static let idleBeforeTest = Duration.seconds(30)
    static let upkeepInterval = Duration.milliseconds(500)
    static let testTimeout = Duration.seconds(2)
    /// How long connections to a server that takes no writes are kept before they are given up again.
    static let stay = Duration.seconds(2)
    /// How long ``close()`` waits for borrowers.
    static let closeTimeout = Duration.seconds(10)

    /// Upkeep until cancellation or graceful shutdown; then closes the pool.
    public func run() async {
        await cancelWhenGracefulShutdown { [self] in
            await withDiscardingTaskGroup { group in
                group.addTask { await self.keepUp() }
                group.addTask { await self.breaker.keepProbing { _ = try? await self.ping() } }
                group.addTask { await self.writes.keepProbing { await self.probeWrites() } }
            }
        }
        await close()
    }

    /// Asks a server that was read-only whether it still is. What else writes were refused for, the next write finds out.
    private func probeWrites() async {
        if isReadOnly.load(ordering: .relaxed) { _ = try? await ping() }
        // A probe that is left to a write stays due.
        try? await Task.sleep(for: Self.upkeepInterval)
    }

    private func keepUp() async {
        while !Task.isCancelled {
            if guarded.withLock({ $0.state.reconnects(now: .now) }) { await connect() }
            while let connection = guarded.withLock({
                $0.state.takeForTest(olderThan: Self.idleBeforeTest, now: .now)
            }) {
                // Whether it answered shows in its state.
                _ = try? await connection.query("SELECT 1", timeout: Self.testTimeout)
                await giveBack(connection)
            }
            try? await Task.sleep(for: Self.upkeepInterval)
        }
    }

    /// Refuses new callers, waits for lent connections to come back (10 s at most), and closes them all.
    public func close() async {
        let (connections, waits) = guarded.withLock { guarded in
            let (connections, waiters) = guarded.state.close()
            return (connections, waiters.compactMap { guarded.waits.removeValue(forKey: $0) })
        }
        for wait in waits { wait.end(with: .failure(.unavailable(shard: name, reason: "the pool is closed"))) }
        for connection in connections { await connection.close() }
        // In a task of its own, so that a cancelled caller still waits for the borrowers that it cancelled too.
        let deadline = Task { [weak self] in
            try? await Task.sleep(for: Self.closeTimeout)
            self?.stopWaitingForBorrowers()
        }
        await withCheckedContinuation { continuation in
            guarded.withLock { $0.closers.append(continuation) }
            finishClosing()
        }
        deadline.cancel()
    }

    private func stopWaitingForBorrowers() {
        let closers = guarded.withLock { guarded in
            defer { guarded.closers = [] }
            return guarded.closers
        }
        for closer in closers { closer.resume() }
    }

    /// When the last connection of a closed pool has ended: ends the thread and lets ``close()`` return.
    private func finishClosing() {
        let (isLast, ends) = guarded.withLock { guarded in
            guard guarded.state.isClosed, guarded.state.open == 0 else { return (false, false) }
            defer { guarded.isThreadEnded = true }
            return (true, !guarded.isThreadEnded)
        }
        guard isLast else { return }
        if ends { executor.shutDown() }
        stopWaitingForBorrowers()
    }
}
