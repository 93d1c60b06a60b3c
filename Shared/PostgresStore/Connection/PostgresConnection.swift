import ServiceKit

/// One session with a server, over libpq's asynchronous calls on the pool's thread.
public actor PostgresConnection {
    nonisolated let executor: SocketExecutor
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(executor: SocketExecutor) { self.executor = executor }

    /// One statement; the caller waits for all of its rows.
    /// - Throws: `server` with a SQLSTATE, after which the connection is usable again; `connectionLost`, `timedOut`
    ///   and `cancelled`, after which it is closed.
    @discardableResult
    public func query(_ sql: String, _ parameters: [PostgresValue] = []) async throws(DatabaseError) -> [PostgresRow] {
        throw .cancelled
    }
}
