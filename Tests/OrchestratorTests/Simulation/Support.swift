import ChatCore
import SeededRandom

extension SeededGenerator {
    mutating func one(in count: Int) -> Bool { Int.random(in: 0..<count, using: &self) == 0 }
}

extension Turn {
    /// - Parameters:
    ///   - number: chooses the user, and when the turn was accepted.
    ///   - after: the turn that began the conversation, when this one goes on with it.
    static func sample(
        number: UInt64, run: UInt64, kind: Kind = .stream, acceptedAt: Int64 = 1_790_000_000_000,
        lifetime: Int64 = 600_000, after first: Turn? = nil, tier: Tier? = nil
    ) -> Turn {
        var random = SeededGenerator(seed: run &+ number &* 0x1234_5678_9ABC_DEF1)
        let accepted = acceptedAt + Int64(number % 1000)
        let id = TurnID(milliseconds: UInt64(accepted), using: &random)
        let owner = UserKey(tenant: "acme", user: "user-\(id)")
        return Turn(
            id: id,
            conversation: first?.conversation ?? ConversationKey(owner: owner, id: ConversationID(firstTurn: id)),
            beginsConversation: first == nil, kind: kind, message: "Hello", system: nil, context: [], model: nil,
            sampling: Sampling(maxTokens: 64, seed: number), acceptedAt: accepted, deadline: accepted + lifetime,
            tier: tier)
    }

    var end: TurnEnd {
        TurnEnd(
            outcome: TurnOutcome(
                turn: id, conversation: conversation, beginsConversation: beginsConversation, kind: kind, status: .done,
                finishReason: .stop, error: nil, system: nil, message: message, response: "Hi",
                eventEnds: [2], usage: .init(promptTokens: 3, completionTokens: 1), model: "m", seed: 1,
                acceptedAt: acceptedAt, firstTokenAt: nil, endedAt: acceptedAt + 5, attempts: 1))
    }
}
