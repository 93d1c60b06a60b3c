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
    /// Of all request bodies in hand.
    let bodyRoomBytes: Int
    let heartbeat: Duration
    let intake: IntakeLimits
    let turnRetention: Duration
    let maximumBacklog: Int
    let drain: Duration
    let maximumConnections: Int
    let idleTimeout: Duration
    let readsPerSecond: Int
    let unknownFields: UnknownFields
    let origins: AllowedOrigins
    let readers: ReaderPlaces.Limits
    let overload: OverloadConfiguration
    let redis: RedisConfiguration
    /// Per cent of Redis' maxmemory.
    let redisHighWatermark: Int
    let rabbit: RabbitConfiguration
    let database: DatabaseConfiguration

    init(_ settings: Settings) throws {
        host = try settings(Settings.gatewayHost)
        port = try settings(Settings.gatewayPort)
        maximumBodyBytes = try settings(Settings.gatewayMaxBody)
        bodyRoomBytes = try settings(Settings.gatewayBodies) << 20
        heartbeat = try settings(Settings.gatewayHeartbeat)
        turnRetention = try settings(Settings.turnRetention)
        maximumBacklog = try settings(Settings.gatewayMaxBacklog)
        drain = try settings(Settings.gatewayDrain)
        maximumConnections = try settings(Settings.gatewayMaxConnections)
        idleTimeout = try settings(Settings.gatewayIdleTimeout)
        unknownFields = try settings(Settings.unknownFields)
        origins = AllowedOrigins(try settings.optional(Settings.corsOrigins))
        readsPerSecond = try settings(Settings.gatewayReadsPerSecond)
        // Readers keep a connection each; the tenth that they leave is for whoever begins a turn or asks for health.
        readers = ReaderPlaces.Limits(
            all: max(1, maximumConnections - maximumConnections / 10), share: try settings(Settings.gatewayKeyShare))
        intake = IntakeLimits(
            model: try settings(Settings.modelName),
            defaultMaxTokens: try settings(Settings.turnMaxTokens),
            requestsPerMinute: [
                .chat: try settings(Settings.rateLimitChat),
                .stream: try settings(Settings.rateLimitStream),
                .batch: try settings(Settings.rateLimitAsync),
            ],
            requestsPerMinuteOfTenant: try settings(Settings.rateLimitTenant),
            acceptsUncounted: try settings(Settings.rateLimitWithoutRedis) == .allow,
            outstanding: try OutstandingTurns.Limits(settings),
            deadline: try settings(Settings.turnDeadline),
            batchDeadline: try settings(Settings.turnBatchDeadline))
        overload = try OverloadConfiguration(settings)
        redisHighWatermark = try settings(Settings.redisHighWatermark)
        redis = try settings.redis(client: "gateway")
        rabbit = try settings.rabbit(client: "gateway")
        database = try settings.database()
    }

    /// Connections that may wait to be accepted: a thousand clients that come back at once are no error.
    static let backlog = 1024

    /// How old the metrics may be that the public port shows.
    static let metricsAge: Duration = .milliseconds(250)

    /// Connections on the loopback address of IPv6, in addition.
    var connectionsOfSecondLoopback: Int { max(10, maximumConnections / 10) }

    /// How long after its acceptance a turn is in Redis in any case.
    var longestLifeInRedis: Duration { max(intake.deadline, intake.batchDeadline) + turnRetention }

    /// The gateway's part of a shutdown beyond the time that streams are given: to send clients away and to close.
    static let closing: Duration = .seconds(15)
}
