import ChatCore

/// An ended turn of a conversation's history.
public struct HistoryTurn: Sendable, Equatable {
    public let turn: TurnID
    public let status: TurnOutcome.Status
    /// A system message that this turn brought. The oldest turn of a cut history carries the one that was in force
    /// before it, unless a later turn of the list brought another: the newest in the list is always the conversation's.
    public let system: String?
    public let message: String
    public let response: String

    public init(turn: TurnID, status: TurnOutcome.Status, system: String?, message: String, response: String) {
        self.turn = turn
        self.status = status
        self.system = system
        self.message = message
        self.response = response
    }
}

/// Reads of conversations, always within a tenant.
public struct ConversationRepository: Sendable {
    let database: ShardedDatabase

    /// Turns that one read gives, at most.
    public static let maximumHistory = 10_000

    public init(database: ShardedDatabase) { self.database = database }

    /// The last `limit` ended turns of a conversation in the order they were accepted, oldest first; empty when there
    /// is no such conversation.
    public func history(
        of conversation: ConversationKey, limit: Int
    ) async throws(DatabaseError) -> [HistoryTurn] {
        let limit = min(max(limit, 0), Self.maximumHistory)
        let rows = try await database.shard(for: conversation.owner).pool.query(
            """
            WITH recent AS (
                SELECT * FROM turns WHERE tenant = $1 AND user_name = $2 AND conversation = $3
                ORDER BY accepted_at DESC, id DESC LIMIT $4
            )
            SELECT t.id, t.status, s.content AS system, q.content AS message, coalesce(a.content, '') AS response,
                c.system AS conversation_system
            FROM recent t
            JOIN conversations c ON c.tenant = t.tenant AND c.user_name = t.user_name AND c.id = t.conversation
            \(Self.messages)
            ORDER BY t.accepted_at, t.id
            """,
            [
                .text(conversation.owner.tenant), .text(conversation.owner.user), .integer(conversation.id.value),
                .integer(Int64(limit)),
            ])
        var history: [HistoryTurn] = []
        for row in rows {
            history.append(
                HistoryTurn(
                    turn: try row.value("id"), status: try row.choice("status"), system: try row.optional("system"),
                    message: try row.value("message"), response: try row.value("response")))
        }
        if let oldest = history.first, history.allSatisfy({ $0.system == nil }) {
            history[0] = HistoryTurn(
                turn: oldest.turn, status: oldest.status, system: try rows[0].optional("conversation_system"),
                message: oldest.message, response: oldest.response)
        }
        return history
    }

    public func exists(_ conversation: ConversationKey) async throws(DatabaseError) -> Bool {
        let rows = try await database.shard(for: conversation.owner).pool.query(
            """
            SELECT EXISTS (
                SELECT FROM conversations WHERE tenant = $1 AND user_name = $2 AND id = $3
            ) AS is_there
            """,
            [.text(conversation.owner.tenant), .text(conversation.owner.user), .integer(conversation.id.value)])
        return try rows.first?.value("is_there") ?? false
    }

    /// The messages of a turn `t`: s, q (question) and a (answer). A turn whose messages are no longer kept drops out.
    static let messages = """
        LEFT JOIN messages s ON s.tenant = t.tenant AND s.user_name = t.user_name AND s.conversation = t.conversation
            AND s.created_at = t.accepted_at AND s.turn = t.id AND s.role = 'system'
        JOIN messages q ON q.tenant = t.tenant AND q.user_name = t.user_name AND q.conversation = t.conversation
            AND q.created_at = t.accepted_at AND q.turn = t.id AND q.role = 'user'
        LEFT JOIN messages a ON a.tenant = t.tenant AND a.user_name = t.user_name AND a.conversation = t.conversation
            AND a.created_at = t.ended_at AND a.turn = t.id AND a.role = 'assistant'
        """
}

extension PostgresRow {
    /// A text column that holds the name of an enumeration's case.
    func choice<Value: RawRepresentable<String>>(
        _ column: String, as type: Value.Type = Value.self
    ) throws(DatabaseError) -> Value {
        guard let value = Value(rawValue: try self.value(column)) else {
            throw .decoding(column: column, reason: "not a case of \(Value.self)")
        }
        return value
    }
}
