import ArgumentParser
import Foundation
import Logging
import PostgresStore
import ServiceKit

/// Runs `body` with the databases of the environment, and closes them after it.
func withDatabase<Result: Sendable>(_ body: (ShardedDatabase) async throws -> Result) async throws -> Result {
    let settings = try Settings(environment: ProcessInfo.processInfo.environment)
    var logger = Logger(label: "switchboard")
    logger.logLevel = .error
    let database = try ShardedDatabase(configuration: try settings.database(), logger: logger)
    let running = Task { try await database.run() }
    defer { running.cancel() }
    return try await body(database)
}
