import ChatCore

/// The unfinished turns of a conversation in the order of acceptance; only the head runs.
public struct ConversationOrder: Sendable {
    /// Where the new head's turn id (text) is published when a turn leaves.
    public static let channel = "conversation-head"

    public init(pool: RedisPool) {}

    /// Idempotent. The turn falls out by itself some time after its deadline.
    public func add(_ turn: Turn) async throws(RedisError) { throw RedisError.notBuilt }

    /// Removes the turn and publishes the new head, if there is one.
    public func remove(_ turn: TurnID, of conversation: ConversationKey) async throws(RedisError) {
        throw RedisError.notBuilt
    }

    public func head(of conversation: ConversationKey) async throws(RedisError) -> TurnID? { throw RedisError.notBuilt }

    /// Whether any unfinished turn is known.
    public func exists(_ conversation: ConversationKey) async throws(RedisError) -> Bool { throw RedisError.notBuilt }
}
