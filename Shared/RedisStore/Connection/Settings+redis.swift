import ServiceKit

extension Settings {
    /// The connection to Redis as the environment says.
    /// - Parameter client: the name that `CLIENT LIST` shows.
    public func redis(client: String) throws(SettingsError) -> RedisConfiguration {
        var configuration = RedisConfiguration(
            host: try self(Settings.redisHost), port: try self(Settings.redisPort),
            password: try optional(Settings.redisPassword), poolSize: try self(Settings.redisPoolSize))
        configuration.clientName = client
        return configuration
    }
}
