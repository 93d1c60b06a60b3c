import ChatCore

/// The ended turns of a conversation, compressed, so that a prompt is built without a look into the shard.
public struct ContextCache: Sendable {
    /// The latest turns that are kept of a conversation.
    public static let maximumTurns = 256

    public struct Entry: Sendable, Equatable {
        public let turn: TurnID
        public let system: String?
        public let message: String
        public let response: String

        public init(turn: TurnID, system: String?, message: String, response: String) {
            self.turn = turn
            self.system = system
            self.message = message
            self.response = response
        }
    }

    /// - Parameter lifetime: time that a conversation stays after its last use.
    public init(pool: RedisPool, lifetime: Duration = .seconds(3600)) {}

    /// The entries in the order of their turns, and whether all of the conversation's ended turns are among them (up to
    /// `maximumTurns`); nil when there is nothing.
    public func load(
        _ conversation: ConversationKey
    ) async throws(RedisError) -> (entries: [Entry], complete: Bool)? { throw RedisError.notBuilt }

    /// Adds an ended turn; a turn that is there already stays as it is.
    /// - Parameter beginsConversation: there is nothing before it, so the cache is complete.
    public func append(
        _ conversation: ConversationKey, entry: Entry, beginsConversation: Bool
    ) async throws(RedisError) { throw RedisError.notBuilt }

    /// Puts in what the shard holds, and marks the cache complete.
    public func fill(_ conversation: ConversationKey, entries: [Entry]) async throws(RedisError) {
        throw RedisError.notBuilt
    }

    public func exists(_ conversation: ConversationKey) async throws(RedisError) -> Bool { throw RedisError.notBuilt }
}
