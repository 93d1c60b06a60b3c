extension PostgresPool {
    /// Lends a connection for the time of `body`. A connection that `body` leaves in an open transaction, or in any
    /// state that is not known to be clean, is closed instead of being lent again.
    /// - Throws: what `body` throws; `unavailable` or `overloaded` when no connection could be had; `cancelled`.
    @discardableResult
    public func withConnection<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        let connection = try await acquire(patience: configuration.acquireTimeout)
        do throws(DatabaseError) {
            let result = try await body(connection)
            await giveBack(connection)
            return result
        } catch {
            await giveBack(connection)
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
        let connection = try await acquire(patience: Self.testTimeout)
        do throws(DatabaseError) {
            try await connection.query("SELECT 1", timeout: Self.testTimeout)
        } catch {
            await giveBack(connection)
            throw error
        }
        await giveBack(connection)
    }
}
