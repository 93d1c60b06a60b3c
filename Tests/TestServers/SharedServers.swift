/// The instances that the whole test process shares. Each is started by the first who asks; those who ask meanwhile wait for
/// the same start.
actor SharedServers {
    static let current = SharedServers()

    /// Enough for every test of a full run; one more costs the seconds of a `rabbitmqctl`.
    static let virtualHosts = 32

    private var redisStart: Task<ServerHandle<RedisEndpoint>, any Error>?
    private var rabbitStart: Task<ServerHandle<RabbitEndpoint>, any Error>?
    private var postgresStart: Task<ServerHandle<PostgresEndpoint>, any Error>?

    func redis() async throws -> ServerHandle<RedisEndpoint> {
        let start = redisStart ?? Task { try await TestServers.startRedis(persistent: false) }
        redisStart = start
        return try await start.value
    }

    func rabbit() async throws -> ServerHandle<RabbitEndpoint> {
        let start = rabbitStart ?? Task { try await TestServers.startRabbit(virtualHosts: Self.virtualHosts) }
        rabbitStart = start
        return try await start.value
    }

    func postgres() async throws -> ServerHandle<PostgresEndpoint> {
        let start = postgresStart ?? Task { try await TestServers.startPostgres() }
        postgresStart = start
        return try await start.value
    }
}
