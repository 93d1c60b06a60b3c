import ServiceKit

extension Settings {
    /// The shards as the environment says.
    public func database() throws(SettingsError) -> DatabaseConfiguration {
        let shards = try self(Settings.databaseShards)
        let replicas = try optional(Settings.databaseReplicas)
        let poolSize = try self(Settings.databasePoolSize)
        do throws(DatabaseError) {
            return try DatabaseConfiguration(shards: shards, replicas: replicas, poolSize: poolSize)
        } catch {
            throw SettingsError(problems: ["DATABASE_SHARDS: \(error)"])
        }
    }
}
