import Foundation
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import TurnProtocol

/// What a command needs to have a turn run.
struct BrokerAccess: Sendable {
    let acceptance: TurnAcceptance
    let clock: RedisClock
    let limits: OutstandingTurns.Limits
    /// Of an asynchronous turn.
    let deadline: Duration
}

/// Runs `body` with Redis and the broker of the environment, and closes them after it.
func withBroker<Result: Sendable>(
    _ settings: Settings, _ database: ShardedDatabase, _ body: (BrokerAccess) async throws -> Result
) async throws -> Result {
    var logger = Logger(label: "switchboard")
    logger.logLevel = .error
    let redis = RedisPool(configuration: try settings.redis(client: "switchboard"), logger: logger)
    let topology = Topology.platform(
        responseShards: database.shards.map(\.name), bounds: try settings.queueBounds())
    let publisher = RabbitPublisher(
        configuration: try settings.rabbit(client: "switchboard"), topology: topology, logger: logger)
    let running = [Task { try await redis.run() }, Task { try await publisher.run() }]
    let result: Swift.Result<Result, any Error>
    do {
        try await connect(redis, publisher)
        let acceptance = TurnAcceptance(
            keys: IdempotencyKeys(pool: redis), outstanding: OutstandingTurns(pool: redis),
            log: TurnLog(pool: redis, retention: try settings(Settings.turnRetention)),
            order: ConversationOrder(pool: redis), publisher: publisher, logger: logger)
        result = .success(
            try await body(
                BrokerAccess(
                    acceptance: acceptance, clock: RedisClock(pool: redis),
                    limits: try OutstandingTurns.Limits(settings),
                    deadline: try settings(Settings.turnBatchDeadline))))
    } catch {
        result = .failure(error)
    }
    for task in running { task.cancel() }
    for task in running { _ = await task.result }
    return try result.get()
}

/// A store that is away is said at once: an operator is waiting.
private func connect(_ redis: RedisPool, _ publisher: RabbitPublisher) async throws {
    let limit = Duration.seconds(10)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await redis.waitUntilConnected() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw CommandFailure("Redis is not reachable")
        }
        defer { group.cancelAll() }
        try await group.next()
    }
    guard await publisher.waitUntilConnected(timeout: limit) else {
        throw CommandFailure("the broker is not reachable: \(publisher.lastFailure.map { "\($0)" } ?? "no answer")")
    }
}
