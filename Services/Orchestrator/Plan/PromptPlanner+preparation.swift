import ChatCore
import RedisStore
import ServiceKit

extension PromptPlanner {
    /// Plans on a thread for such work: a long prompt takes as long as many tokens of other turns.
    /// - Throws: `WorkPool.Full`, `CancellationError`.
    func prepare(
        _ turn: Turn, history: [ContextCache.Entry], capacity: NodeCapacity? = nil, on pool: WorkPool = .shared
    ) async throws -> HolderNews.Preparation {
        let bytes = history.reduce(turn.wireBytes) { $0 + $1.message.utf8.count + $1.response.utf8.count }
        return try await pool.run(bytes: bytes) { ticket in
            do {
                return .plan(try plan(turn, history: history, capacity: capacity, ticket: ticket))
            } catch let refusal as Refusal {
                return .refused("\(refusal)")
            }
        }
    }
}
