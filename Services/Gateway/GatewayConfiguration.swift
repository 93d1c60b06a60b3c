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
    let drain: Duration
    let maximumConnections: Int
    let idleTimeout: Duration
    let overload: OverloadConfiguration
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
        drain = try settings(Settings.gatewayDrain)
        maximumConnections = try settings(Settings.gatewayMaxConnections)
        idleTimeout = try settings(Settings.gatewayIdleTimeout)
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
        overload = try OverloadConfiguration(settings)
        redis = try settings.redis(client: "gateway")
        rabbit = try settings.rabbit(client: "gateway")
        database = try settings.database()
    }

    /// Connections that may wait to be accepted: a thousand clients that come back at once are no error.
    static let backlog = 1024

    /// Readers keep a connection each; the tenth that they leave is for whoever begins a turn or asks for health.
    var maximumReaders: Int { max(1, maximumConnections - maximumConnections / 10) }

    /// How long after its acceptance a turn is in Redis in any case.
    var longestLifeInRedis: Duration { max(intake.deadline, intake.batchDeadline) + turnRetention }

    /// The gateway's part of a shutdown beyond the time that streams are given: to send clients away and to close.
    static let closing: Duration = .seconds(15)
}
