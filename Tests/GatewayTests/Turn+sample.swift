import ChatCore
import Foundation

extension Turn {
    /// An asynchronous turn of a user of its own, asked for under the Idempotency-Key `k`.
    /// - Parameter deadlineIn: milliseconds from now.
    static func sample(deadlineIn: Int64 = 600_000) -> Turn {
        var random = SystemRandomNumberGenerator()
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let id = TurnID(milliseconds: UInt64(now), using: &random)
        return Turn(
            id: id,
            conversation: ConversationKey(
                owner: UserKey(tenant: "acme", user: "user-\(id)"), id: ConversationID(firstTurn: id)),
            beginsConversation: true, kind: .batch, message: "Hello", system: nil, context: [], model: nil,
            sampling: Sampling(maxTokens: 16, seed: 1), acceptedAt: now, deadline: now + deadlineIn,
            idempotency: .init(key: "k", requestDigest: String(repeating: "a", count: 64)))
    }
}
