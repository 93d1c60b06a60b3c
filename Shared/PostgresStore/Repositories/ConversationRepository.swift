import ChatCore

/// An ended turn of a conversation's history. One that is not shown (it failed, or has no answer) and the one that a bound
/// of bytes cut off have no message and no response.
public struct HistoryTurn: Sendable, Equatable {
    public let turn: TurnID
    /// Its number in the conversation.
    public let position: Int64
    public let status: TurnOutcome.Status
    /// A system message that this turn brought. The oldest turn of a cut history carries the one that was in force
    /// before it, unless a later turn of the list brought another: the newest in the list is always the conversation's.
    public let system: String?
    public let message: String
    public let response: String

    public init(
        turn: TurnID, position: Int64, status: TurnOutcome.Status, system: String?, message: String, response: String
    ) {
        self.turn = turn
        self.position = position
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

    /// The last `limit` ended turns of a conversation in the order in which they joined it, oldest first; empty when there
    /// is no such conversation.
    /// - Parameter maximumBytes: of all texts that are given, so that neither the server nor this process holds more of
    ///   one conversation (and one system message). The newest turn that does not fit is the last to be given.
    public func history(
        of conversation: ConversationKey, limit: Int, maximumBytes: Int
    ) async throws(DatabaseError) -> [HistoryTurn] {
        let limit = min(max(limit, 0), Self.maximumHistory)
        // What is shown is what TurnOutcome.isPartOfHistory says. octet_length of a stored text reads its length alone; a text that is not given is never read.
        let rows = try await database.shard(for: conversation.owner).pool.query(
            """
            WITH recent AS (
                SELECT *, turn_position(sequence, accepted_at) AS place
                FROM turns WHERE tenant = $1 AND user_name = $2 AND conversation = $3
                ORDER BY turn_position(sequence, accepted_at) DESC, id DESC LIMIT $4
            ), shown AS (
                SELECT t.id, t.status, t.place, s.content AS system,
                    CASE WHEN t.status <> 'failed' AND octet_length(a.content) > 0 THEN q.content ELSE '' END AS message,
                    CASE WHEN t.status <> 'failed' THEN coalesce(a.content, '') ELSE '' END AS response
                FROM recent t
                \(Self.messages)
            ), measured AS (
                SELECT *, sum(bytes) OVER (ORDER BY place DESC, id DESC ROWS UNBOUNDED PRECEDING) AS total
                FROM shown, LATERAL (
                    SELECT coalesce(octet_length(system), 0)::bigint + octet_length(message) + octet_length(response) AS bytes
                ) size
            ), given AS (
                SELECT id, status, place,
                    CASE WHEN total <= $5 THEN system END AS system,
                    CASE WHEN total <= $5 THEN message ELSE '' END AS message,
                    CASE WHEN total <= $5 THEN response ELSE '' END AS response
                FROM measured WHERE total - bytes <= $5
            )
            SELECT id, place, status, system, message, response,
                CASE WHEN count(system) OVER () = 0 AND row_number() OVER (ORDER BY place, id) = 1 THEN (
                    SELECT c.system FROM conversations c WHERE c.tenant = $1 AND c.user_name = $2 AND c.id = $3
                ) END AS conversation_system
            FROM given ORDER BY place, id
            """,
            [
                .text(conversation.owner.tenant), .text(conversation.owner.user), .integer(conversation.id.value),
                .integer(Int64(limit)), .integer(Int64(max(maximumBytes, 0))),
            ])
        var history: [HistoryTurn] = []
        for row in rows {
            history.append(
                HistoryTurn(
                    turn: try row.value("id"), position: try row.value("place"), status: try row.choice("status"),
                    system: try row.optional("system"),
                    message: try row.value("message"), response: try row.value("response")))
        }
        if let oldest = history.first, history.allSatisfy({ $0.system == nil }) {
            history[0] = HistoryTurn(
                turn: oldest.turn, position: oldest.position, status: oldest.status,
                system: try rows[0].optional("conversation_system"),
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
