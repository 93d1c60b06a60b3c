import ServiceKit

extension PostgresPool {
    /// Lends a connection for the time of `body`, which writes nothing. A connection that `body` leaves in an open transaction, or in any
    /// state that is not known to be clean, is closed instead of being lent again.
    /// - Throws: what `body` throws; `unavailable` or `overloaded` when no connection could be had; `cancelled`.
    @discardableResult
    public func withConnection<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        try await lend(.read, patience: configuration.acquireTimeout, body)
    }

    /// One use of the shard, as its circuit breakers count them.
    @discardableResult
    private func lend<R: Sendable>(
        _ access: Access, patience: Duration, isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        let permits = try admit(access)
        let ledger = WaitLedger.current
        ledger?.begin(.database)
        defer { ledger?.end(.database) }
        do throws(DatabaseError) {
            let connection = try await acquire(patience: patience)
            let lent = ContinuousClock.now
            waitTime.record(duration: permits.shard.startedAt.duration(to: lent))
            do throws(DatabaseError) {
                let result = try await body(connection)
                queryTime.record(duration: lent.duration(to: .now))
                settle(permits, (.success, .success))
                await giveBack(connection)
                return result
            } catch {
                await giveBack(connection)
                throw error
            }
        } catch {
            let waited = ContinuousClock.now - permits.shard.startedAt
            settle(permits, error.verdicts(on: access, afterWaiting: waited, of: patience), reason: error.description)
            if error.refusal == .readOnly { await leaveServer() }
            throw error
        }
    }

    private struct Permits {
        let shard: CircuitBreaker.Permit
        let writes: CircuitBreaker.Permit?
    }

    private func admit(_ access: Access) throws(DatabaseError) -> Permits {
        do throws(DependencyBreaker.Refusal) {
            let permit = try breaker.admit()
            guard access == .write else { return Permits(shard: permit, writes: nil) }
            do throws(DependencyBreaker.Refusal) {
                return Permits(shard: permit, writes: try writes.admit())
            } catch {
                breaker.settle(permit, .neither)
                throw error
            }
        } catch {
            throw .unavailable(shard: name, reason: error.description)
        }
    }

    private func settle(
        _ permits: Permits, _ verdicts: (shard: CircuitBreaker.Verdict, writes: CircuitBreaker.Verdict),
        reason: String = ""
    ) {
        breaker.settle(permits.shard, verdicts.shard, reason: reason)
        if let permit = permits.writes { writes.settle(permit, verdicts.writes, reason: reason) }
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    ///
    /// `connectionLost` and `timedOut` may come from the commit itself: then whether it took effect is not known.
    @discardableResult
    public func withTransaction<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        try await lend(.write, patience: configuration.acquireTimeout) { connection throws(DatabaseError) in
            try await connection.execute(script: "BEGIN")
            let result: R
            do throws(DatabaseError) {
                result = try await body(connection)
            } catch {
                // When it cannot be sent, or fails, the open transaction makes the pool close the connection, and the
                // server rolls back for that reason.
                _ = try? await connection.execute(script: "ROLLBACK")
                throw error
            }
            let tag = try await connection.execute(script: "COMMIT")
            // COMMIT of a failed transaction, whose error `body` kept to itself, succeeds as a rollback.
            guard tag == "COMMIT" else {
                throw .server(sqlState: "25P02", message: "the transaction had failed: rolled back", constraint: nil)
            }
            return result
        }
    }

    /// One statement that only reads, on any free connection. (Tests and operators' programs may write with it: then no
    /// breaker counts what is refused as a refusal of writes.)
    /// - Parameters:
    ///   - sql: a constant text with $1, $2, …; it is prepared once for each connection.
    ///   - parameters: as many as the text names.
    @discardableResult
    public func query(_ sql: String, _ parameters: [PostgresValue] = []) async throws(DatabaseError) -> [PostgresRow] {
        try await withConnection { connection throws(DatabaseError) in
            try await connection.query(sql, parameters)
        }
    }

    /// One statement that writes, on any free connection; refused at once while the shard takes no writes.
    @discardableResult
    public func write(_ sql: String, _ parameters: [PostgresValue] = []) async throws(DatabaseError) -> [PostgresRow] {
        try await lend(.write, patience: configuration.acquireTimeout) { connection throws(DatabaseError) in
            try await connection.query(sql, parameters)
        }
    }

    /// One round trip; fails within about four seconds: two for a connection, two for the answer. A server that says that
    /// it takes no writes counts as a refused write.
    /// - Returns: whether the server says that it takes writes.
    @discardableResult
    public func ping() async throws(DatabaseError) -> Bool {
        let rows = try await lend(.read, patience: Self.testTimeout) { connection throws(DatabaseError) in
            try await connection.query(
                "SELECT current_setting('transaction_read_only') = 'on' AS refuses", timeout: Self.testTimeout)
        }
        let refuses = try rows.first?.value("refuses", as: Bool.self) ?? false
        // What else it cannot do only a write finds out.
        guard refuses || isReadOnly.load(ordering: .relaxed) else { return true }
        if refuses { await leaveServer() }
        if let permit = try? writes.admit() {
            isReadOnly.store(refuses, ordering: .relaxed)
            writes.settle(permit, refuses ? .failure : .success, reason: "the server is read-only")
        }
        return !refuses
    }

    /// Gives up the connections to a server that takes no writes: their address may lead to another by now.
    private func leaveServer() async {
        isReadOnly.store(true, ordering: .relaxed)
        let connections = guarded.withLock { guarded -> [PostgresConnection] in
            let now = ContinuousClock.now
            // Not at each refusal: those that read need connections too.
            guard guarded.leftServerAt.map({ $0 + Self.stay <= now }) ?? true else { return [] }
            guarded.leftServerAt = now
            guarded.generation += 1
            return guarded.state.takeIdle()
        }
        for connection in connections { await connection.close() }
    }
}
