import Logging
import ServiceLifecycle

/// The connections to one shard.
///
/// It connects when somebody asks, so it works before and without ``run()``; running it adds upkeep: it reconnects with
/// backoff while the server is away, and tests connections that nobody used for a while.
public final class PostgresPool: Service, Sendable {
    public let name: String

    init(shard: DatabaseConfiguration.Shard, configuration: DatabaseConfiguration, logger: Logger) {
        name = shard.name
    }

    /// Lends a connection for the time of `body`. A connection that `body` leaves in an open transaction, or in any
    /// state that is not known to be clean, is closed instead of being lent again.
    /// - Throws: what `body` throws; `unavailable` or `overloaded` when no connection could be had; `cancelled`.
    public func withConnection<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        throw .unavailable(shard: name, reason: "not built yet")
    }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws.
    public func withTransaction<R: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (PostgresConnection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        throw .unavailable(shard: name, reason: "not built yet")
    }

    /// One statement on any free connection.
    /// - Parameters:
    ///   - sql: a constant text with $1, $2, …; it is prepared once for each connection.
    ///   - parameters: as many as the text names.
    @discardableResult
    public func query(_ sql: String, _ parameters: [PostgresValue] = []) async throws(DatabaseError) -> [PostgresRow] {
        throw .unavailable(shard: name, reason: "not built yet")
    }

    /// Whether the last thing heard of the server was good. False before the first connection.
    public var isAvailable: Bool { false }

    /// One round trip; fails within about two seconds.
    public func ping() async throws(DatabaseError) {}

    /// Upkeep until cancellation or graceful shutdown; then closes the pool.
    public func run() async {}

    /// Refuses new callers, waits for lent connections to come back, and closes them all.
    public func close() async {}
}
