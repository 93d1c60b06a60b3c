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
    /// - Parameter history: the conversation's earlier turns, oldest first. Those without a response only bring their
    ///   system message.
    func plan(_ turn: Turn, history: [ContextCache.Entry]) throws(TooLong) -> TurnPlan {
        let system = turn.system ?? history.last { $0.system != nil }?.system
        let history = history.filter { !$0.response.isEmpty }
        let head = system.map { [ChatMessage(role: .system, content: $0)] } ?? []
        let tail =
            turn.context.map { ChatMessage(role: $0.role.inTemplate, content: $0.content) }
            + [ChatMessage(role: .user, content: turn.message)]

        let fixed = template.encode(head + tail).tokens.count
        guard fixed < contextLength else { throw TooLong(promptTokens: fixed, contextLength: contextLength) }
        // A client that asks for more tokens than it will get must not lose its history to them.
        let reserve = min(turn.sampling.maxTokens, max(contextLength / 4, 1), contextLength - fixed)
        var kept = newest(of: history, within: contextLength - fixed - reserve)
        var prompt = template.encode(head + kept.joined() + tail)
        // Messages are counted one by one above; should a template count them otherwise together, one goes at a time.
        while prompt.tokens.count + reserve > contextLength, !kept.isEmpty {
            kept = kept.dropFirst()
            prompt = template.encode(head + kept.joined() + tail)
        }
        return TurnPlan(
            prompt: prompt.tokens, maxTokens: min(turn.sampling.maxTokens, contextLength - prompt.tokens.count),
            historyTurns: kept.count, droppedTurns: history.count - kept.count)
    }

    /// As many of the newest turns as fit the budget, oldest first. Older ones are not even tokenized.
    private func newest(of history: [ContextCache.Entry], within budget: Int) -> ArraySlice<[ChatMessage]> {
        var rest = budget
        var kept: [[ChatMessage]] = []
        for entry in history.reversed() {
            let turn = [
                ChatMessage(role: .user, content: entry.message),
                ChatMessage(role: .assistant, content: entry.response),
            ]
            // After a system message, as in the prompt: a template may put one of its own before a lone user message.
            let counts = template.encode([ChatMessage(role: .system, content: "")] + turn).messageCounts
            rest -= counts.dropFirst().reduce(0, +)
            guard rest >= 0 else { break }
            kept.append(turn)
        }
        return kept.reversed()[...]
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
