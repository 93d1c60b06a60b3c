import ChatCore
import RedisStore
import ServiceKit

/// Keeps the answers of deterministic turns, and gives them to identical ones.
struct SharedAnswers: Sendable {
    let cache: AnswerCache
    let nodes: NodeDirectory
    /// A digest goes through the whole prompt.
    var pool = WorkPool.shared

    /// The answer of an identical turn: of the same prompt, by what would generate it now. nil for a turn that takes none,
    /// and while Redis is away: then it is generated like any other.
    func find(for turn: Turn, _ plan: TurnPlan) async -> CachedAnswer? {
        guard let use = turn.answers, use.mayReuse else { return nil }
        do {
            guard let answer = try await cache.find(use.key, of: turn.conversation.owner.tenant),
                answer.isWhole(within: plan.maxTokens),
                try await pool.run(
                    bytes: plan.prompt.count * Transcript.idBytes, { _ in answer.answers(prompt: plan.prompt) })
            else { return nil }
            // Another model under the same name would say something else. With no node there is nothing to ask.
            let nodes = try await nodes.nodes().filter { $0.serves(turn.model) }
            return nodes.isEmpty || nodes.contains { $0.numericsID == answer.numericsID } ? answer : nil
        } catch {
            return nil
        }
    }

    /// Keeps what a turn was answered; what cannot be kept is generated again next time.
    func keep(_ ids: [Int32], of turn: Turn, _ plan: TurnPlan, _ reason: TurnOutcome.FinishReason) async {
        guard let use = turn.answers, let numericsID = plan.numericsID else { return }
        guard let answer = await answer(to: plan.prompt, ids, of: turn, numericsID, reason) else { return }
        _ = try? await cache.keep(answer, under: use.key, of: turn.conversation.owner.tenant)
    }

    /// What is kept of a turn; nothing while the pool is full.
    func answer(
        to prompt: [Int32], _ ids: [Int32], of turn: Turn, _ numericsID: String, _ reason: TurnOutcome.FinishReason
    ) async -> CachedAnswer? {
        try? await pool.run(bytes: prompt.count * Transcript.idBytes) { _ in
            CachedAnswer(turn: turn.id, numericsID: numericsID, prompt: prompt, tokens: ids, finishReason: reason)
        }
    }
}

extension CachedAnswer {
    /// Whether a turn that may have so many tokens would have ended in the same place.
    fileprivate func isWhole(within maxTokens: Int) -> Bool {
        finishReason == .length ? tokens.count == maxTokens : tokens.count <= maxTokens
    }
}
