import ChatCore

/// An ended turn of a conversation's history.
public struct HistoryTurn: Sendable, Equatable {
    public let turn: TurnID
    public let status: TurnOutcome.Status
    /// A system message that this turn brought. The first turn of a cut history also carries the one that was in
    /// force, so the newest one in the list is the conversation's.
    public let system: String?
    public let message: String
    public let response: String
}

/// Reads of conversations and turns, always within a tenant.
public struct ConversationRepository: Sendable {
    private let database: ShardedDatabase

    public init(database: ShardedDatabase) { self.database = database }

    /// The last `limit` ended turns of a conversation, oldest first; empty when there is no such conversation.
    public func history(
        of conversation: ConversationKey, limit: Int
    ) async throws(DatabaseError) -> [HistoryTurn] { [] }

    public func exists(_ conversation: ConversationKey) async throws(DatabaseError) -> Bool { false }

    /// A settled turn, with the byte ends of its events.
    /// - Parameters:
    ///   - tenant: a turn of another tenant is not found.
    ///   - user: when known, only that user's shard is asked; otherwise all are, at once.
    /// - Throws: when it was found nowhere and a shard could not be asked.
    public func turn(
        _ id: TurnID, tenant: String, user: String? = nil
    ) async throws(DatabaseError) -> TurnOutcome? { nil }
}
