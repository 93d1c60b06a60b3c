import ChatCore
import Foundation
import ModelFile
import RedisStore
import ServiceKit

/// Builds a turn's prompt: system message, as much history as fits, the client's context, the message.
struct PromptPlanner: Sendable {
    let tokenizer: Tokenizer
    let template: ChatTemplate
    /// Tokens that prompt and answer may have together.
    let contextLength: Int

    /// Bytes of history beyond which no prompt has room: every token as long as the vocabulary's longest. Markup takes
    /// some of it, too.
    var maximumHistoryBytes: Int {
        let (bytes, overflow) = contextLength.multipliedReportingOverflow(by: max(tokenizer.longestToken, 1))
        return overflow ? ContextCache.maximumBytes : min(bytes, ContextCache.maximumBytes)
    }

    /// Why a turn has no prompt, whatever else is tried.
    enum Refusal: Error, Equatable, CustomStringConvertible {
        /// Tokens are counted up to twice the context; one more stands for all that are beyond.
        case tooLong(promptTokens: Int, contextLength: Int)
        /// The template does not take these messages, for example two of the user's in a row.
        case template(ChatTemplate.Refusal)

        var description: String {
            switch self {
            case .tooLong(let tokens, let contextLength):
                TurnFailure(
                    .contextLengthExceeded,
                    "the prompt has \(Refusal.words(tokens, contextLength)) tokens without any history; the model's context has \(contextLength)"
                ).text
            case .template(let refusal): refusal.description
            }
        }

        private static func words(_ tokens: Int, _ contextLength: Int) -> String {
            let counted = PromptPlanner.countedTokens(contextLength)
            return tokens > counted ? "more than \(counted)" : "\(tokens)"
        }
    }

    /// Tokens that prompt and answer may have together, when the prompt has so many without any history: what each node of
    /// the turn can hold, so that it may go to any of them and be gone on with at any other. A longer prompt goes to the
    /// nodes that can hold it, and one that none can hold waits for one.
    private func room(for bare: Int, _ capacity: NodeCapacity?) -> Int {
        guard let capacity else { return contextLength }
        let rooms = [capacity.smallest, capacity.largest].map { min($0, contextLength) }
        return rooms.first { bare < $0 } ?? contextLength
    }

    /// Leaves out the oldest turns until the rest fits; the system message, the client's context and the message stay.
    /// - Parameter history: the conversation's earlier turns, oldest first. Those without a response only bring their
    ///   system message.
    /// - Parameter capacity: what the living nodes can hold; nil while none is known.
    /// - Throws: `Refusal`, `CancellationError`.
    func plan(
        _ turn: Turn, history: [ContextCache.Entry], capacity: NodeCapacity? = nil, ticket: WorkPool.Ticket = .init()
    ) throws -> TurnPlan {
        var sections = EncodedSections(limit: .max)
        return try plan(turn, history: history, capacity, ticket, &sections)
    }

    /// - Parameter sections: what has been encoded already.
    func plan(
        _ turn: Turn, history: [ContextCache.Entry], _ capacity: NodeCapacity?, _ ticket: WorkPool.Ticket,
        _ sections: inout EncodedSections
    ) throws -> TurnPlan {
        let system = turn.system ?? history.last { $0.system != nil }?.system
        let history = history.filter { !$0.response.isEmpty }
        let head = system.map { [ChatMessage(role: .system, content: $0)] } ?? []
        let tail =
            turn.context.map { ChatMessage(role: $0.role.inTemplate, content: $0.content) }
            + [ChatMessage(role: .user, content: turn.message)]
        // One time for all attempts: a template may write it.
        let date = Date()
        func prompt(turns: Int) throws -> [Int32] {
            try ticket.check()
            let kept = history.suffix(turns).flatMap(\.messages)
            do throws(ChatTemplate.Refusal) {
                return try template.encode(head + kept + tail, date: date, &sections)
            } catch {
                throw Refusal.template(error)
            }
        }

        let counted = PromptPlanner.countedTokens(contextLength)
        sections.limit = counted
        var best = try prompt(turns: 0)
        guard best.count < contextLength else {
            throw Refusal.tooLong(promptTokens: min(best.count, counted + 1), contextLength: contextLength)
        }
        let bare = best.count
        let room = room(for: bare, capacity)
        // A client that asks for more tokens than it will get must not lose its history to them.
        let reserve = min(turn.sampling.maxTokens, max(room / 4, 1), room - bare)
        let budget = room - reserve
        // Under load history was given less room; what is no history is not cut.
        let historyBudget = min(budget, turn.degradation?.contextTokens ?? budget)
        sections.limit = historyBudget
        var search = LongestFit(
            limit: history.count,
            guess: try newest(of: history, within: historyBudget - best.count, date, ticket, &sections))
        while let turns = search.candidate {
            let tokens = try prompt(turns: turns)
            if tokens.count <= historyBudget { best = tokens }
            search.record(fits: tokens.count <= historyBudget)
        }
        let maxTokens = min(turn.sampling.maxTokens, room - best.count)
        let dropped = history.count - search.longest
        let isCut = maxTokens < turn.sampling.maxTokens || (dropped > 0 && historyBudget == budget)
        return TurnPlan(
            prompt: best, maxTokens: maxTokens, historyTurns: search.longest, droppedTurns: dropped,
            room: isCut ? room : nil, shortest: bare + 1)
    }

    /// Tokens that are counted of a prompt which is too long, so that its client learns by how much.
    private static func countedTokens(_ contextLength: Int) -> Int {
        let (twice, overflow) = contextLength.multipliedReportingOverflow(by: 2)
        return overflow ? contextLength : twice
    }

    /// About how many of the newest turns fit the budget. A template is a program: what a turn takes in the prompt is
    /// known only when all is rendered. But a guess by what a turn takes alone spares nearly all attempts, older turns are
    /// not even tokenized, and what is encoded for the guess is not encoded again.
    private func newest(
        of history: [ContextCache.Entry], within budget: Int, _ date: Date, _ ticket: WorkPool.Ticket,
        _ sections: inout EncodedSections
    ) throws -> Int {
        let message = [ChatMessage(role: .user, content: "x")]
        // A template that refuses these has a say when all is rendered.
        guard !history.isEmpty, let frame = try? template.encode(message, date: date, &sections).count else { return 0 }
        var rest = budget
        var turns = 0
        for entry in history.reversed() {
            try ticket.check()
            guard let whole = try? template.encode(entry.messages + message, date: date, &sections).count else { break }
            rest -= max(whole - frame, 0)
            guard rest >= 0 else { break }
            turns += 1
        }
        return turns
    }
}

extension ContextCache.Entry {
    fileprivate var messages: [ChatMessage] {
        [ChatMessage(role: .user, content: message), ChatMessage(role: .assistant, content: response)]
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
