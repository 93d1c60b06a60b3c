import ChatCore
import Logging
import RedisStore
import ServiceKit

/// What the gateway knows of answers that identical requests share: under which key a turn's would stand, and whether
/// there is one. Orchestrators keep and give them.
struct SharedAnswers: Sendable {
    let cache: AnswerCache
    let contexts: ContextCache
    let order: ConversationOrder
    let logger: Logger
    var pool = WorkPool.shared

    /// Under which key the turn's answer would stand: a digest of all that it follows from. nil for a turn that shares no
    /// answers; while the pool is full none does.
    /// - Parameter history: as `history(before:)` gave it.
    func key(of turn: Turn, history: [ContextCache.Entry]) async -> String? {
        let bytes = history.reduce(turn.wireBytes) { $0 + $1.message.utf8.count + $1.response.utf8.count }
        return try? await pool.run(bytes: bytes) { _ in AnswerUse.key(of: turn, history: history) }
    }

    /// The conversation so far; nil when it is not known for certain, and then the turn shares no answers: not every turn
    /// is cached, or one of them still goes on.
    func history(before turn: Turn) async -> [ContextCache.Entry]? {
        if turn.beginsConversation { return [] }
        do throws(RedisError) {
            guard try await !order.exists(turn.conversation) else { return nil }
            guard let known = try await contexts.load(turn.conversation), known.complete else { return nil }
            return known.entries
        } catch {
            logger.debug("a turn shares no answers", metadata: ["turn": "\(turn.id)", "error": "\(error)"])
            return nil
        }
    }

    func contains(_ key: String, of tenant: String) async -> Bool {
        (try? await cache.contains(key, of: tenant)) ?? false
    }
}
