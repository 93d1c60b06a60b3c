import ChatCore
import ServiceKit

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
    private let work: WorkPool

    /// Outcomes that go into one statement; a longer list is stored in several.
    public static let maximumBatch = 500
    /// The same for bytes; one longer outcome has a statement of its own.
    public static let maximumBatchBytes = 8 << 20
    /// How often a statement is tried that lost a deadlock.
    static let maximumAttempts = 4

    public init(database: ShardedDatabase, work: WorkPool = .shared) {
        self.database = database
        self.work = work
    }

    /// Stores outcomes, all of users of `shard`.
    /// - Returns: what is newly stored, and what can never be and why.
    /// - Throws: when the shard could not say. Each statement took effect whole or not at all; call again with all:
    ///   what was stored then shows in neither set of the next answer.
    public func settle(
        _ outcomes: [TurnOutcome], on shard: ShardedDatabase.Shard
    ) async throws(DatabaseError) -> Settlement {
        var settlement = Settlement()
        var seen: Set<TurnID> = []
        // A turn may be in the list twice: one statement must not see it twice.
        let own = outcomes.filter { outcome in
            guard seen.insert(outcome.turn).inserted else { return false }
            guard database.shard(for: outcome.conversation.owner).name == shard.name else {
                settlement.refused[outcome.turn] = .badConfiguration("the turn's user is not of shard \(shard.name)")
                return false
            }
            return true
        }
        for statement in Self.statements(of: own) { try await store(statement, on: shard, into: &settlement) }
        return settlement
    }

    /// Outcomes in their order, cut so that none of the pieces is larger than a statement may be.
    static func statements(of outcomes: [TurnOutcome]) -> [ArraySlice<TurnOutcome>] {
        var pieces: [ArraySlice<TurnOutcome>] = []
        var (start, bytes) = (0, 0)
        for (index, outcome) in outcomes.enumerated() {
            let size = outcome.storedBytes
            if index - start == maximumBatch || index > start && bytes + size > maximumBatchBytes {
                pieces.append(outcomes[start..<index])
                (start, bytes) = (index, 0)
            }
            bytes += size
        }
        if start < outcomes.count { pieces.append(outcomes[start...]) }
        return pieces
    }

    private func store(
        _ outcomes: ArraySlice<TurnOutcome>, on shard: ShardedDatabase.Shard, into settlement: inout Settlement
    ) async throws(DatabaseError) {
        let (batch, refused) = try await batch(of: outcomes, for: shard)
        settlement.refused.merge(refused) { $1 }
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

    /// Outcomes as a statement's columns, and those that can never be stored. Every byte of them is looked at.
    private func batch(
        of outcomes: ArraySlice<TurnOutcome>, for shard: ShardedDatabase.Shard
    ) async throws(DatabaseError) -> (SettlementBatch, refused: [TurnID: DatabaseError]) {
        do {
            return try await work.run(bytes: outcomes.reduce(0) { $0 + $1.storedBytes }) { _ in
                var batch = SettlementBatch()
                var refused: [TurnID: DatabaseError] = [:]
                for outcome in outcomes {
                    do throws(DatabaseError) {
                        try batch.append(outcome)
                    } catch {
                        refused[outcome.turn] = error
                    }
                }
                return (batch, refused)
            }
        } catch {
            throw error is WorkPool.Full ? .overloaded(shard: shard.name) : .cancelled
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

extension TurnOutcome {
    /// About what it costs in a statement: everything that has no fixed size.
    var storedBytes: Int {
        let texts = [
            conversation.owner.tenant, conversation.owner.user, error, system, message, response, model,
            idempotency?.key, idempotency?.requestDigest, degradation?.requestedModel,
        ]
        let attempts = (attemptLog ?? []).suffix(Self.maximumAttemptLog)
        // An end is a number of up to five bytes, nearly always of one; an attempt has its numbers besides.
        return texts.reduce(0) { $0 + ($1?.utf8.count ?? 0) } + eventEnds.count * 2
            + attempts.reduce(0) { $0 + $1.node.utf8.count + ($1.endReason?.utf8.count ?? 0) + 64 }
    }
}
