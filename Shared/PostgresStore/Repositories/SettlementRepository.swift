import ChatCore

/// What became of a batch of outcomes. An outcome that is in neither set was stored before.
public struct Settlement: Sendable, Equatable {
    /// Stored by this call and no other.
    public var stored: Set<TurnID> = []
    /// Refused for what they contain; they will never be stored as they are.
    public var refused: [TurnID: DatabaseError] = [:]
}

/// Writes ended turns into their users' shards, each exactly once however often it is delivered.
public struct SettlementRepository: Sendable {
    private let database: ShardedDatabase

    /// Outcomes that go into one statement; a longer list is stored in several.
    public static let maximumBatch = 500

    public init(database: ShardedDatabase) { self.database = database }

    /// Stores outcomes, all of users of `shard`.
    /// - Returns: what is newly stored and what can never be.
    /// - Throws: when the shard could not say: nothing of the current statement is stored, or all of it is; call again.
    public func settle(
        _ outcomes: [TurnOutcome], on shard: ShardedDatabase.Shard
    ) async throws(DatabaseError) -> Settlement { Settlement() }
}
