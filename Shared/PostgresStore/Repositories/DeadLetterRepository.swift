import ChatCore

/// A message that no consumer will get again, as the directory keeps it.
public struct DeadLetterRecord: Sendable, Equatable {
    public let id: Int64
    /// The queue it died in.
    public let queue: String
    public let messageID: String
    public let reason: String
    /// Both nil when the message could not be read.
    public let turn: TurnID?
    public let owner: UserKey?
    /// Of the message's body.
    public let bytes: Int64
    /// Unix milliseconds.
    public let diedAt: Int64
    /// The turn that it is replayed as; the replay was accepted when `replayedAt` is set too.
    public let replayedAs: TurnID?
    public let replayedAt: Int64?
}

/// Dead letters, in the directory.
public struct DeadLetterRepository: Sendable {
    private let directory: PostgresPool

    /// Letters that one listing gives, at most.
    public static let maximumList = 10_000
    /// Letters that stay; older ones than these are pruned.
    public static let maximumKept = 100_000

    public init(directory: PostgresPool) { self.directory = directory }

    /// Stores a letter; one with the same queue, message id and body is stored once. U+0000 is stored as U+001A.
    /// - Returns: whether it is new.
    @discardableResult
    public func keep(
        queue: String, messageID: String, reason: String, turn: TurnID?, owner: UserKey?, body: [UInt8]
    ) async throws(DatabaseError) -> Bool {
        let rows = try await directory.write(
            """
            INSERT INTO dead_letters (digest, queue, message_id, reason, turn, tenant, user_name, body)
            VALUES (
                sha256(convert_to($1, 'UTF8') || '\\x00'::bytea || convert_to($2, 'UTF8') || '\\x00'::bytea || $7),
                $1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (digest) DO NOTHING RETURNING id
            """,
            [
                .text(SettlementBatch.storable(queue)), .text(SettlementBatch.storable(messageID)),
                .text(SettlementBatch.storable(reason)), .turn(turn),
                .text(owner.map { SettlementBatch.storable($0.tenant) }),
                .text(owner.map { SettlementBatch.storable($0.user) }), .bytes(body),
            ])
        return !rows.isEmpty
    }

    /// Newest first, at most `limit`.
    /// - Parameter tenant: nil for all, those without one too.
    public func list(tenant: String? = nil, limit: Int = 100) async throws(DatabaseError) -> [DeadLetterRecord] {
        let rows = try await directory.query(
            """
            SELECT \(Self.columns) FROM dead_letters WHERE $1 IS NULL OR tenant = $1 ORDER BY id DESC LIMIT $2
            """, [.text(tenant), .integer(Int64(min(max(limit, 0), Self.maximumList)))])
        var records: [DeadLetterRecord] = []
        for row in rows { records.append(try Self.record(row)) }
        return records
    }

    /// A letter and the message's body.
    public func find(_ id: Int64) async throws(DatabaseError) -> (record: DeadLetterRecord, body: [UInt8])? {
        let rows = try await directory.query(
            "SELECT \(Self.columns), body FROM dead_letters WHERE id = $1", [.integer(id)])
        guard let row = rows.first else { return nil }
        return (try Self.record(row), try row.value("body"))
    }

    /// Says which turn the letter will be replayed as; the first answer stays.
    /// - Returns: that turn's id; nil when there is no such letter.
    public func beginReplay(_ id: Int64, as turn: TurnID) async throws(DatabaseError) -> TurnID? {
        let rows = try await directory.write(
            """
            UPDATE dead_letters SET replayed_as = coalesce(replayed_as, $2) WHERE id = $1 RETURNING replayed_as
            """, [.integer(id), .turn(turn)])
        return try rows.first?.value("replayed_as")
    }

    /// Notes that the replay was accepted.
    public func finishReplay(_ id: Int64) async throws(DatabaseError) {
        try await directory.write(
            "UPDATE dead_letters SET replayed_at = coalesce(replayed_at, now()) WHERE id = $1", [.integer(id)])
    }

    /// - Returns: the letters that were there, which are gone now.
    public func drop(_ ids: [Int64]) async throws(DatabaseError) -> [Int64] {
        let rows = try await directory.write(
            "DELETE FROM dead_letters WHERE id = ANY ($1) RETURNING id", [.integers(ids)])
        var dropped: [Int64] = []
        for row in rows { dropped.append(try row.value("id")) }
        return dropped.sorted()
    }

    /// Letters that were not replayed.
    public func countWaiting() async throws(DatabaseError) -> Int {
        let rows = try await directory.query("SELECT count(*) AS count FROM dead_letters WHERE replayed_at IS NULL")
        return Int(try rows.first?.value("count", as: Int64.self) ?? 0)
    }

    /// Drops letters that died longer ago than `age`, and the oldest beyond `maximumKept`.
    /// - Returns: how many.
    public func prune(olderThan age: Duration, keeping maximum: Int = maximumKept) async throws(DatabaseError) -> Int {
        let rows = try await directory.write(
            """
            WITH gone AS (
                DELETE FROM dead_letters
                WHERE died_at < now() - make_interval(secs => $1)
                    OR id <= (SELECT id FROM dead_letters ORDER BY id DESC OFFSET $2 LIMIT 1)
                RETURNING id
            )
            SELECT count(*) AS count FROM gone
            """, [.double(age / .seconds(1)), .integer(Int64(max(0, maximum)))])
        return Int(try rows.first?.value("count", as: Int64.self) ?? 0)
    }

    private static let columns = """
        id, queue, message_id, reason, turn, tenant, user_name, octet_length(body)::bigint AS bytes, died_at,
        replayed_as, replayed_at
        """

    private static func record(_ row: PostgresRow) throws(DatabaseError) -> DeadLetterRecord {
        var owner: UserKey?
        if let tenant = try row.optional("tenant", as: String.self),
            let user = try row.optional("user_name", as: String.self)
        {
            owner = UserKey(tenant: tenant, user: user)
        }
        return DeadLetterRecord(
            id: try row.value("id"), queue: try row.value("queue"), messageID: try row.value("message_id"),
            reason: try row.value("reason"), turn: try row.optional("turn"), owner: owner,
            bytes: try row.value("bytes"), diedAt: try row.value("died_at", as: UnixMilliseconds.self).value,
            replayedAs: try row.optional("replayed_as"),
            replayedAt: try row.optional("replayed_at", as: UnixMilliseconds.self)?.value)
    }
}
