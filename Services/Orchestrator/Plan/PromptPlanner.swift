import ChatCore
import ModelFile
import RedisStore

/// Builds a turn's prompt: system message, as much history as fits, the client's context, the message.
struct PromptPlanner: Sendable {
    let tokenizer: Tokenizer
    let template: ChatTemplate
    /// Tokens that prompt and answer may have together.
    let contextLength: Int

    struct TooLong: Error, CustomStringConvertible {
        let promptTokens: Int
        let contextLength: Int

        var description: String {
            "the prompt has \(promptTokens) tokens without any history; the model's context has \(contextLength)"
        }
    }

    /// Leaves out the oldest turns until the rest fits; the system message, the client's context and the message stay.
    /// - Parameter history: the conversation's earlier turns, oldest first.
    func plan(_ turn: Turn, history: [ContextCache.Entry]) throws(TooLong) -> TurnPlan {
        let system = turn.system ?? history.last { $0.system != nil }?.system
        let head = system.map { [ChatMessage(role: .system, content: $0)] } ?? []
        let tail =
            turn.context.map { ChatMessage(role: $0.role.inTemplate, content: $0.content) }
            + [ChatMessage(role: .user, content: turn.message)]

        let fixed = template.encode(head + tail).tokens.count
        guard fixed < contextLength else { throw TooLong(promptTokens: fixed, contextLength: contextLength) }
        let maxTokens = min(turn.sampling.maxTokens, contextLength - fixed)

        let past = history.map { entry in
            [ChatMessage(role: .user, content: entry.message), ChatMessage(role: .assistant, content: entry.response)]
        }
        var kept = past[...]
        var prompt = template.encode(head + kept.joined() + tail)
        // A message's own count does not change with its neighbours, so one encoding tells how many must go.
        while prompt.tokens.count + maxTokens > contextLength, !kept.isEmpty {
            var excess = prompt.tokens.count + maxTokens - contextLength
            var counts = prompt.messageCounts.dropFirst(head.count)[...]
            repeat {
                excess -= counts.prefix(2).reduce(0, +)
                counts = counts.dropFirst(2)
                kept = kept.dropFirst()
            } while excess > 0 && !kept.isEmpty
            prompt = template.encode(head + kept.joined() + tail)
        }
        return TurnPlan(
            prompt: prompt.tokens, maxTokens: maxTokens, historyTurns: kept.count,
            droppedTurns: history.count - kept.count)
    }
}

extension Turn.Message.Role {
    fileprivate var inTemplate: ChatMessage.Role {
        switch self {
        case .system: .system
        case .user: .user
        case .assistant: .assistant
        }
    }
}
