import ChatCore
import Foundation

extension Turn {
    /// - Parameters:
    ///   - conversation: nil begins one.
    ///   - acceptedAt: what the gateway's clock says.
    static func sample(
        key: String? = nil, user: UserKey? = nil, in conversation: ConversationKey? = nil, begins: Bool? = nil,
        acceptedAt: Int64? = nil, message: String = "Hello", system: String? = nil
    ) -> Turn {
        var random = SystemRandomNumberGenerator()
        let now = acceptedAt ?? Int64(Date().timeIntervalSince1970 * 1000)
        let id = TurnID(milliseconds: UInt64(now), using: &random)
        let owner = user ?? UserKey(tenant: "acme", user: "user-\(id)")
        return Turn(
            id: id,
            conversation: conversation ?? ConversationKey(owner: owner, id: ConversationID(firstTurn: id)),
            beginsConversation: begins ?? (conversation == nil), kind: .stream, message: message, system: system,
            context: [], model: nil,
            sampling: Sampling(maxTokens: 16, seed: 1), acceptedAt: now, deadline: now + 600_000,
            idempotency: key.map { .init(key: $0, requestDigest: String(repeating: "a", count: 64)) })
    }
}
