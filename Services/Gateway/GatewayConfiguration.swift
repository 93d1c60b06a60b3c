import ChatCore
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit

/// Everything the gateway is told by its environment, read once.
struct GatewayConfiguration: Sendable {
    let host: String
    let port: Int
    let maximumBodyBytes: Int
    let heartbeat: Duration
    let intake: IntakeLimits
    let turnRetention: Duration
    let maximumBacklog: Int
    let redis: RedisConfiguration
    let rabbit: RabbitConfiguration
    let database: DatabaseConfiguration

    init(_ settings: Settings) throws {
        host = try settings(Settings.gatewayHost)
        port = try settings(Settings.gatewayPort)
        maximumBodyBytes = try settings(Settings.gatewayMaxBody)
        heartbeat = try settings(Settings.gatewayHeartbeat)
        turnRetention = try settings(Settings.turnRetention)
        maximumBacklog = try settings(Settings.gatewayMaxBacklog)
        intake = IntakeLimits(
            model: try settings(Settings.modelName),
            defaultMaxTokens: try settings(Settings.turnMaxTokens),
            requestsPerMinute: [
                .chat: try settings(Settings.rateLimitChat),
                .stream: try settings(Settings.rateLimitStream),
                .batch: try settings(Settings.rateLimitAsync),
            ],
            acceptsUncounted: try settings(Settings.rateLimitWithoutRedis) == .allow,
            outstandingPerUser: try settings(Settings.maxOutstanding),
            deadline: try settings(Settings.turnDeadline),
            batchDeadline: try settings(Settings.turnBatchDeadline))
        redis = try settings.redis(client: "gateway")
        rabbit = try settings.rabbit(client: "gateway")
        database = try settings.database()
    }
}
