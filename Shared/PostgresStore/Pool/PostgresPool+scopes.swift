import ServiceKit

extension PostgresPool {
    /// Lends a connection for the time of `body`. A connection that `body` leaves in an open transaction, or in any
    /// state that is not known to be clean, is closed instead of being lent again.
    /// - Throws: what `body` throws; `unavailable` or `overloaded` when no connection could be had; `cancelled`.
    @discardableResult
    public func withConnection<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        try await lend(patience: configuration.acquireTimeout, body)
    }

    /// One use of the shard, as its circuit breaker counts them.
    @discardableResult
    private func lend<R: Sendable>(
        patience: Duration, isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        let permit: CircuitBreaker.Permit
        do throws(DependencyBreaker.Refusal) {
            permit = try breaker.admit()
        } catch {
            throw .unavailable(shard: name, reason: error.description)
        }
        let ledger = WaitLedger.current
        ledger?.begin(.database)
        defer { ledger?.end(.database) }
        do throws(DatabaseError) {
            let connection = try await acquire(patience: patience)
            let lent = ContinuousClock.now
            waitTime.record(duration: permit.startedAt.duration(to: lent))
            do throws(DatabaseError) {
                let result = try await body(connection)
                queryTime.record(duration: lent.duration(to: .now))
                breaker.settle(permit, .success)
                await giveBack(connection)
                return result
            } catch {
                await giveBack(connection)
                throw error
            }
        } catch {
            let waited = ContinuousClock.now - permit.startedAt
            breaker.settle(permit, error.verdict(afterWaiting: waited, of: patience), reason: error.description)
            throw error
        }
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    ///
    /// `connectionLost` and `timedOut` may come from the commit itself: then whether it took effect is not known.
    @discardableResult
    public func withTransaction<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        try await withConnection { connection throws(DatabaseError) in
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

    /// One statement on any free connection.
    /// - Parameters:
    ///   - sql: a constant text with $1, $2, …; it is prepared once for each connection.
    ///   - parameters: as many as the text names.
    @discardableResult
    public func query(_ sql: String, _ parameters: [PostgresValue] = []) async throws(DatabaseError) -> [PostgresRow] {
        try await withConnection { connection throws(DatabaseError) in
            try await connection.query(sql, parameters)
        }
    }

    /// One round trip; fails within about four seconds: two for a connection, two for the answer.
    public func ping() async throws(DatabaseError) {
        try await lend(patience: Self.testTimeout) { connection throws(DatabaseError) in
            try await connection.query("SELECT 1", timeout: Self.testTimeout)
        }
    }
}

extension DatabaseError {
    /// What the error says about the shard, for its circuit breaker.
    fileprivate func verdict(afterWaiting waited: Duration, of patience: Duration) -> CircuitBreaker.Verdict {
        switch self {
        case .unavailable, .connectionLost, .timedOut: .failure
        // Nobody gave a connection back in all that time: the shard hangs. A full queue of callers only says that there
        // are many.
        case .overloaded: waited >= patience ? .failure : .neither
        case .badConfiguration, .cancelled, .decoding, .migration: .neither
        case .server(let sqlState, _, _):
            // Connection, resources, operator intervention (a statement's time-out too) and I/O: it cannot work. All else
            // is an answer.
            ["08", "53", "57", "58"].contains(String(sqlState.prefix(2))) ? .failure : .success
        }
    }
}
