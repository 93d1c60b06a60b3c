import ChatCore

/// What became of a batch of outcomes. An outcome that is in neither was stored before.
public struct Settlement: Sendable, Equatable {
    /// Stored by this call and no other.
    public var stored: Set<TurnID> = []
    /// Refused for what they contain; they will never be stored as they are.
    public var refused: [TurnID: DatabaseError] = [:]

    public init(stored: Set<TurnID> = [], refused: [TurnID: DatabaseError] = [:]) {
        self.stored = stored
        self.refused = refused
    }
}

/// Writes ended turns into their users' shards, each exactly once however often it is delivered.
///
/// A turn's id decides: of two outcomes of one turn, the first one stored stays. U+0000, which PostgreSQL cannot hold,
/// is stored as U+001A. An outcome that cannot be stored does not hold up its batch: the batch is halved until it is
/// alone.
public struct SettlementRepository: Sendable {
    private let database: ShardedDatabase

    /// Outcomes that go into one statement; a longer list is stored in several.
    public static let maximumBatch = 500
    /// The same for bytes of text; one longer outcome has a statement of its own.
    public static let maximumBatchBytes = 16 << 20
    /// How often a statement is tried that lost a deadlock.
    static let maximumAttempts = 4

    public init(database: ShardedDatabase) { self.database = database }

    /// Stores outcomes, all of users of `shard`.
    /// - Returns: what is newly stored, and what can never be and why.
    /// - Throws: when the shard could not say. Each statement took effect whole or not at all; call again with all:
    ///   what was stored then shows in neither set of the next answer.
    public func settle(
        _ outcomes: [TurnOutcome], on shard: ShardedDatabase.Shard
    ) async throws(DatabaseError) -> Settlement {
        var settlement = Settlement()
        var seen: Set<TurnID> = []
        var chunk: [TurnOutcome] = []
        var chunkBytes = 0
        // A turn may be in the list twice: one statement must not see it twice.
        for outcome in outcomes where seen.insert(outcome.turn).inserted {
            guard database.shard(for: outcome.conversation.owner).name == shard.name else {
                settlement.refused[outcome.turn] = .badConfiguration("the turn's user is not of shard \(shard.name)")
                continue
            }
            let bytes = outcome.message.utf8.count + outcome.response.utf8.count
            if chunk.count == Self.maximumBatch || !chunk.isEmpty && chunkBytes + bytes > Self.maximumBatchBytes {
                try await store(chunk[...], on: shard, into: &settlement)
                (chunk, chunkBytes) = ([], 0)
            }
            chunk.append(outcome)
            chunkBytes += bytes
        }
        try await store(chunk[...], on: shard, into: &settlement)
        return settlement
    }

    private func store(
        _ outcomes: ArraySlice<TurnOutcome>, on shard: ShardedDatabase.Shard, into settlement: inout Settlement
    ) async throws(DatabaseError) {
        var batch = SettlementBatch()
        for outcome in outcomes {
            do throws(DatabaseError) {
                try batch.append(outcome)
            } catch {
                settlement.refused[outcome.turn] = error
            }
        }
        guard !batch.turns.isEmpty else { return }
        do throws(DatabaseError) {
            settlement.stored.formUnion(try await write(batch, on: shard))
        } catch {
            guard error.isDataRefused else { throw error }
            let storable = outcomes.filter { settlement.refused[$0.turn] == nil }
            guard storable.count > 1 else {
                for outcome in storable { settlement.refused[outcome.turn] = error }
                return
            }
            try await store(storable.prefix(storable.count / 2), on: shard, into: &settlement)
            try await store(storable.dropFirst(storable.count / 2), on: shard, into: &settlement)
        }
    }

    private func write(
        _ batch: SettlementBatch, on shard: ShardedDatabase.Shard
    ) async throws(DatabaseError) -> Set<TurnID> {
        var attempt = 1
        while true {
            do throws(DatabaseError) {
                var stored: Set<TurnID> = []
                for row in try await shard.pool.write(SettlementBatch.statement, batch.parameters) {
                    stored.insert(try row.value("id"))
                }
                return stored
            } catch {
                // Another transaction won; this one was rolled back and can be tried again at once.
                guard error.refusal == .conflict, attempt < Self.maximumAttempts else { throw error }
                attempt += 1
            }
        }
    }
}
