import ChatCore
import RabbitQueue
import RedisStore

/// Ends turns: what orchestrators do with the turns they hold, and the queue worker with those that nobody will hold.
public struct TurnEnding: Sendable {
    public let log: TurnLog
    public let order: ConversationOrder
    public let contexts: ContextCache
    public let outstanding: OutstandingTurns
    public let publisher: RabbitPublisher
    private let shard: @Sendable (UserKey) -> String

    /// - Parameter shard: the name of the shard that keeps a user.
    public init(
        log: TurnLog, order: ConversationOrder, contexts: ContextCache, outstanding: OutstandingTurns,
        publisher: RabbitPublisher, shard: @escaping @Sendable (UserKey) -> String
    ) {
        self.log = log
        self.order = order
        self.contexts = contexts
        self.outstanding = outstanding
        self.publisher = publisher
        self.shard = shard
    }

    /// All steps in their order, each repeated while its store is away.
    /// - Throws: `Abandoned` when the lease or the entitlement is another's, `CancellationError`.
    public func end(_ ending: inout EndingTurn, patience: Patience) async throws {
        for step in EndingStep.allCases {
            var attempt = ending
            try await patience { try await perform(step, of: &attempt) }
            ending = attempt
        }
    }

    /// One step; the caller keeps the order.
    /// - Throws: `Abandoned.fenced` when the lease is another's, else what the store threw.
    public func perform(_ step: EndingStep, of ending: inout EndingTurn) async throws {
        let turn = ending.turn
        switch step {
        case .record:
            guard let stored = try await log.recordOutcome(ending.lease, outcome: ending.body) else {
                throw Abandoned.fenced
            }
            try await ending.take(stored: stored)
        case .settle:
            try await publisher.publish(
                OutgoingMessage(
                    queue: Topology.responseQueue(shard: shard(turn.conversation.owner)), body: ending.body,
                    id: turn.id.description))
        case .remember:
            // What no prompt will show leaves its id and its system message: a failed turn costs later ones nothing.
            let outcome = ending.outcome
            let isShown = outcome.isPartOfHistory
            let entry = ContextCache.Entry(
                turn: turn.id, position: turn.position, system: turn.system, message: isShown ? turn.message : "",
                response: isShown ? outcome.response : "")
            try await contexts.append(turn.conversation, entry: entry, beginsConversation: turn.beginsConversation)
        case .show:
            let next = ending.outcome.eventEnds.count
            guard try await log.end(ending.lease, next: next, end: ending.end) else { throw Abandoned.fenced }
        case .tidyUp:
            try await tidyUp(turn)
        }
    }

    /// Takes an ended turn out of its conversation's order and its user's and tenant's counts. Idempotent.
    public func tidyUp(_ turn: Turn) async throws(RedisError) {
        try await order.remove(turn.id, of: turn.conversation)
        try await outstanding.release(turn)
    }
}
