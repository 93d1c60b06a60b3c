import CLibpq
import ServiceKit
import Synchronization

/// One session with a server, over libpq's asynchronous calls on the pool's thread.
///
/// One statement at a time. A session whose state is not known, because an answer did not come or its caller left, is
/// closed: it is never used again.
public actor PostgresConnection {
    /// Statements that a session keeps prepared.
    static let preparedStatements = 128
    /// How much later than the server's own statement time-out the client gives up.
    static let timeoutGrace = Duration.seconds(2)

    nonisolated let executor: SocketExecutor
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    nonisolated let shard: String
    let statementTimeout: Duration
    private let traits: ServerTraits
    /// Of the pool, when this was begun.
    nonisolated let generation: UInt64
    /// Called once when the session is closed, by whatever side.
    private let onClose: @Sendable (PostgresConnection) -> Void
    /// Whether the session is open, idle and outside a transaction: fit for the next borrower.
    nonisolated let isClean = Atomic(false)

    /// The PGconn; nil when closed.
    var session: OpaquePointer?
    private var watched: Int32 = -1
    private var watchedEvents: SocketExecutor.Readiness = []
    private var statements = StatementCache(capacity: PostgresConnection.preparedStatements)
    /// A query may take several exchanges; no other may come between them.
    private var isTaken = false
    private var exchange: Exchange?
    private var exchanges: UInt64 = 0

    /// A command sent, whose answer is being read.
    private struct Exchange {
        let id: UInt64
        var reply = Reply()
        let timer: SocketExecutor.TimerID
        let continuation: CheckedContinuation<Result<Reply, DatabaseError>, Never>
    }

    init(
        executor: SocketExecutor, shard: String, statementTimeout: Duration, traits: ServerTraits, generation: UInt64,
        onClose: @escaping @Sendable (PostgresConnection) -> Void
    ) {
        self.executor = executor
        self.shard = shard
        self.statementTimeout = statementTimeout
        self.traits = traits
        self.generation = generation
        self.onClose = onClose
    }

    /// One statement; the caller waits for all of its rows.
    /// - Parameters:
    ///   - sql: a constant text with $1, $2, …; it is prepared on its first use, where sessions keep what is prepared.
    ///   - timeout: when the client gives up; nil stands for the statement time-out and a grace.
    /// - Throws: `server` with a SQLSTATE, after which the connection is usable again; `connectionLost`, `timedOut`
    ///   and `cancelled`, after which it is closed; `overloaded` while another statement is under way here.
    @discardableResult
    public func query(
        _ sql: String, _ parameters: [PostgresValue] = [], timeout: Duration? = nil
    ) async throws(DatabaseError) -> [PostgresRow] {
        guard !isTaken else { throw .overloaded(shard: shard) }
        isTaken = true
        defer { isTaken = false }
        return try await run(sql, parameters, timeout: timeout).rows
    }

    /// Several statements in one text, without parameters and without being prepared: migrations only.
    /// - Returns: the last statement's command tag.
    @discardableResult
    func execute(script: String, timeout: Duration? = nil) async throws(DatabaseError) -> String {
        guard !isTaken else { throw .overloaded(shard: shard) }
        isTaken = true
        defer { isTaken = false }
        return try await exchange(timeout: timeout) { PQsendQuery($0, script) }.tag
    }

    /// Ends the session; a statement under way fails with `connectionLost`.
    public func close() { close(failing: .connectionLost(shard: shard)) }

    // MARK: Statements

    private func run(
        _ sql: String, _ parameters: [PostgresValue], timeout: Duration?
    ) async throws(DatabaseError) -> Reply {
        let key = StatementCache.Key(sql: sql, types: parameters.map(\.type))
        let values = parameters.map(\.encoded)
        let wasInTransaction = session.map { PQtransactionStatus($0) != PQTRANS_IDLE } ?? false
        if traits.keepsPreparedStatements.load(ordering: .relaxed) {
            do throws(DatabaseError) {
                return try await runPrepared(key, values, wasInTransaction: wasInTransaction, timeout: timeout)
            } catch {
                // Nothing was carried out, so that outside a transaction the statement can be sent again.
                guard error.refusal == .unknownStatement else { throw error }
                traits.keepsPreparedStatements.store(false, ordering: .relaxed)
                guard !wasInTransaction else { throw error }
            }
        }
        return try await send(values, timeout: timeout) { session, addresses, lengths, formats in
            PQsendQueryParams(session, sql, Int32(addresses.count), key.types, addresses, lengths, formats, 1)
        }
    }

    private func runPrepared(
        _ key: StatementCache.Key, _ values: [[UInt8]?], wasInTransaction: Bool, timeout: Duration?
    ) async throws(DatabaseError) -> Reply {
        if let name = statements.name(of: key) {
            do throws(DatabaseError) {
                return try await execute(name, values, timeout: timeout)
            } catch {
                // The schema changed under the statement: nothing was carried out.
                guard error.sqlState == "0A000" else { throw error }
                statements.remove(key)
                guard !wasInTransaction else { throw error }
            }
        }
        let name = try await prepare(key, timeout: timeout)
        return try await execute(name, values, timeout: timeout)
    }

    private func prepare(_ key: StatementCache.Key, timeout: Duration?) async throws(DatabaseError) -> String {
        if let old = statements.evict() {
            try await exchange(timeout: timeout) { PQsendQuery($0, "DEALLOCATE \(old)") }
        }
        let name = statements.freshName(for: key)
        try await exchange(timeout: timeout) { session in
            PQsendPrepare(session, name, key.sql, Int32(key.types.count), key.types)
        }
        statements.insert(key, name: name)
        return name
    }

    private func execute(
        _ name: String, _ values: [[UInt8]?], timeout: Duration?
    ) async throws(DatabaseError) -> Reply {
        try await send(values, timeout: timeout) { session, addresses, lengths, formats in
            PQsendQueryPrepared(session, name, Int32(addresses.count), addresses, lengths, formats, 1)
        }
    }

    /// - Parameter command: gets addresses, lengths and formats (all binary) of the values, for as long as it runs.
    private func send(
        _ values: [[UInt8]?], timeout: Duration?,
        _ command: (OpaquePointer, [UnsafePointer<CChar>?], [Int32], [Int32]) -> Int32
    ) async throws(DatabaseError) -> Reply {
        try await exchange(timeout: timeout) { session in
            // libpq copies the values into its output buffer before it returns. One buffer holds them all; an empty
            // value needs an address too, since a null address is a null value.
            var bytes: [UInt8] = []
            bytes.reserveCapacity(values.reduce(1) { $0 + ($1?.count ?? 0) })
            for case let value? in values { bytes.append(contentsOf: value) }
            bytes.append(0)
            let lengths = values.map { Int32(clamping: $0?.count ?? 0) }
            let formats = [Int32](repeating: 1, count: values.count)
            return bytes.withUnsafeBytes { buffer -> Int32 in
                var next = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
                let addresses = values.map { value -> UnsafePointer<CChar>? in
                    guard let value else { return nil }
                    defer { next = next?.advanced(by: value.count) }
                    return next
                }
                return command(session, addresses, lengths, formats)
            }
        }
    }

    // MARK: Exchanges

    /// Sends one command and waits for the whole answer.
    /// - Parameter send: returns 0 when libpq would not take the command.
    @discardableResult
    private func exchange(
        timeout: Duration?, _ send: (OpaquePointer) -> Int32
    ) async throws(DatabaseError) -> Reply {
        guard !Task.isCancelled else { throw .cancelled }
        guard let session else { throw .unavailable(shard: shard, reason: "the connection is closed") }
        isClean.store(false, ordering: .relaxed)
        guard send(session) == 1 else {
            close()
            throw .unavailable(shard: shard, reason: "the connection broke before a statement was sent")
        }
        exchanges += 1
        let id = exchanges
        let patience = timeout ?? statementTimeout + PostgresConnection.timeoutGrace
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let timer = executor.schedule(after: patience) { [weak self] in
                    self?.assumeIsolated { $0.giveUp(on: id, because: .timedOut(shard: $0.shard)) }
                }
                exchange = Exchange(id: id, timer: timer, continuation: continuation)
                advance(session)
            }
        } onCancel: {
            Task { await self.giveUp(on: id, because: .cancelled) }
        }
        let reply = try result.get()
        guard let error = reply.error else { return reply }
        // What writes is refused here, and the next borrower may write: the address may lead to another server by now.
        if error.refusal == .readOnly { close() }
        throw error
    }

    /// Leaves an answer that did not come, or that nobody waits for: the caller goes on at once, the server is asked to
    /// stop, and the session ends, since what it would say next is not known.
    private func giveUp(on id: UInt64, because error: DatabaseError) {
        guard exchange?.id == id, let session else { return }
        CancelRequest.send(for: session)
        close(failing: error)
    }

    /// The socket can be read or written, in a statement or between two.
    func isReady(_ readiness: SocketExecutor.Readiness) {
        guard let session else { return }
        guard readiness == .writable || PQconsumeInput(session) == 1 else { return lose(session) }
        advance(session)
    }

    /// Writes what is still to be written and takes in every result that has come.
    private func advance(_ session: OpaquePointer) {
        let unsent = PQflush(session)
        guard unsent >= 0 else { return lose(session) }
        watch(session, for: unsent > 0 ? [.readable, .writable] : .readable)
        if drain(session) { complete(session) }
    }

    /// The connection broke. What came before that counts: an answer that was complete, or the server's last words.
    private func lose(_ session: OpaquePointer) {
        _ = PQconsumeInput(session)
        if drain(session) { complete(session) }
        close()
    }

    private func complete(_ session: OpaquePointer) {
        guard let exchange = endExchange() else { return }
        let isOpen = PQstatus(session) == CONNECTION_OK
        isClean.store(isOpen && PQtransactionStatus(session) == PQTRANS_IDLE, ordering: .relaxed)
        guard !exchange.reply.isCopy else {
            close()
            return exchange.continuation.resume(
                returning: .failure(.badConfiguration("COPY is not spoken over this connection")))
        }
        if !isOpen { close() }
        exchange.continuation.resume(returning: .success(exchange.reply))
    }

    /// - Returns: whether the answer is complete.
    @discardableResult
    private func drain(_ session: OpaquePointer) -> Bool {
        guard exchange != nil else { return false }
        while PQisBusy(session) == 0 {
            guard let result = PQgetResult(session) else { return true }
            exchange?.reply.take(result, shard: shard)
            PQclear(result)
            // libpq would give the same result for ever.
            if exchange?.reply.isCopy == true { return true }
        }
        return false
    }

    private func endExchange() -> Exchange? {
        guard let ended = exchange else { return nil }
        executor.cancel(ended.timer)
        exchange = nil
        return ended
    }

    // MARK: The socket

    func watch(_ session: OpaquePointer, for events: SocketExecutor.Readiness) {
        let descriptor = PQsocket(session)
        // While libpq connects it may go on to another socket.
        if watched >= 0, watched != descriptor { executor.unwatch(watched) }
        guard watched != descriptor || watchedEvents != events else { return }
        (watched, watchedEvents) = (descriptor, events)
        guard descriptor >= 0 else { return }
        executor.watch(descriptor, for: events) { [weak self] readiness in
            self?.assumeIsolated { $0.socketIsReady(readiness) }
        }
    }

    func close(failing error: DatabaseError) {
        guard let session else { return }
        isClean.store(false, ordering: .relaxed)
        if watched >= 0 { executor.unwatch(watched) }
        watched = -1
        PQfinish(session)
        self.session = nil
        if let exchange = endExchange() {
            // The server's own words say more than that the connection broke.
            exchange.continuation.resume(returning: .failure(exchange.reply.error ?? error))
        }
        onClose(self)
    }

    // MARK: Connecting (PostgresConnection+connect.swift)

    var connecting: Connecting?

    struct Connecting {
        let timer: SocketExecutor.TimerID
        let continuation: CheckedContinuation<Result<Void, DatabaseError>, Never>
    }
}
