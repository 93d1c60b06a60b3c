/// The body of the POSTs that begin a turn. What is nil is left to the server.
public struct ChatRequest: Sendable, Encodable, Equatable {
    public struct Message: Sendable, Codable, Equatable {
        public var role: String
        public var content: String

        public init(role: String, content: String) {
            self.role = role
            self.content = content
        }
    }

    public var message: String
    public var userID: String
    /// Continues this conversation; nil begins one.
    public var conversationID: Int64?
    public var system: String?
    public var context: [Message]?
    public var model: String?
    public var maxTokens: Int?
    public var temperature: Double?
    public var topP: Double?
    public var seed: UInt64?
    public var stop: [String]?

    public init(message: String, userID: String) {
        self.message = message
        self.userID = userID
    }

    enum CodingKeys: String, CodingKey {
        case message, system, context, model, temperature, seed, stop
        case userID = "user_id"
        case conversationID = "conversation_id"
        case maxTokens = "max_tokens"
        case topP = "top_p"
    }
}
