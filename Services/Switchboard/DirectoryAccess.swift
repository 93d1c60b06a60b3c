import Foundation
import Logging
import PostgresStore
import ServiceKit

/// Runs `body` with the databases of the environment, and closes them after it.
func withDatabase<Result: Sendable>(_ body: (ShardedDatabase) async throws -> Result) async throws -> Result {
    let settings = try Settings(environment: ProcessInfo.processInfo.environment)
    guard try settings.optional(Settings.databaseShards) != nil else {
        throw CommandFailure(
            "DATABASE_SHARDS is not set. The cluster of `make up` has it in a file: set -a; . .local/cluster.env; set +a"
        )
    }
    var logger = Logger(label: "switchboard")
    logger.logLevel = .error
    let database = try ShardedDatabase(configuration: try settings.database(), logger: logger)
    // Closed before the process ends: exit handlers of C libraries (OpenSSL under libpq) must find no thread inside them.
    do {
        let result = try await body(database)
        await database.close()
        return result
    } catch {
        await database.close()
        throw error
    }
}
