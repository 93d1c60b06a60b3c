import ChatCore

/// The schema's versions, and how a database gets to the newest.
public enum Migrations {
    /// A version that ``migrate(_:)`` has just applied.
    public struct Applied: Sendable, Equatable {
        public let shard: String
        /// `directory` or `shard`: each list has its own count.
        public let list: String
        public let version: Int
        public let name: String
    }

    /// Brings the directory and every shard to the newest version, then makes the partitions of the next months.
    /// Running it again, or two at once, changes nothing more.
    /// - Throws: the first shard's error; what other shards applied stays, and the next run goes on from there.
    @discardableResult
    public static func migrate(_ database: ShardedDatabase) async throws(DatabaseError) -> [Applied] { [] }

    /// Makes the partitions of this month and of the `months` months after it, on every shard; migrate does it, and
    /// the queue worker daily.
    /// - Returns: one result for each shard: the names of the tables made.
    public static func ensurePartitions(
        _ database: ShardedDatabase, months: Int = 3
    ) async -> [(shard: ShardedDatabase.Shard, result: Result<[String], DatabaseError>)] { [] }
}
