import ServiceKit

extension Probes {
    /// Fails while a shard does not let this process in, one of several too: a fault of the configuration, that no other
    /// shard makes up for and that passes only when somebody acts.
    public static func admits(_ database: ShardedDatabase) -> Check {
        {
            let reasons = database.shards.compactMap(\.pool.refusedEntry)
            return reasons.isEmpty ? nil : reasons.joined(separator: "; ")
        }
    }
}
