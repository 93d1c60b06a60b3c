import ChatCore
import Foundation
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit

/// Finds the earlier turns of a conversation: in Redis, or when that is empty in the shard.
struct HistorySource: Sendable {
    /// Turns that are looked at, at most; no context window holds more.
    private static let maximumTurns = ContextCache.maximumTurns
    private static let markerPatience: Duration = .seconds(10)

    let contexts: ContextCache
    let log: TurnLog
    let conversations: ConversationRepository
    let database: ShardedDatabase
    let markers: Markers
    let publisher: RabbitPublisher
    let logger: Logger

    /// The conversation's newest earlier turns, oldest first; those without a response are not to be shown.
    /// - Parameters:
    ///   - maximumBytes: of their texts: what a prompt of the turn's model can hold. The shard may give more.
    ///   - insists: whether a predecessor of which Redis knows nothing is waited for. It may have been forgotten there,
    ///     with its message still in a queue; or its acceptance was taken back, and it never was.
    /// - Throws: what a store threw, or when the shard's settling does not come through, or while the turn's predecessor
    ///   has not ended: history may be read later.
    func history(
        before turn: Turn, upTo maximumBytes: Int, insists: Bool
    ) async throws -> [ContextCache.Entry] {
        if turn.beginsConversation { return [] }
        if let cached = try await contexts.load(turn.conversation, maximumBytes: maximumBytes), cached.complete {
            let entries = cached.entries.filter { $0.isBefore(turn) }
            if turn.after == nil || entries.contains(where: { $0.turn == turn.after }) { return entries }
        }
        // What ended a moment ago may still wait to be settled: the shard is right only when that queue has been worked
        // off up to here.
        try await waitUntilSettled(turn)
        let stored = try await conversations.history(
            of: turn.conversation, limit: HistorySource.maximumTurns, maximumBytes: ContextCache.maximumBytes)
        let entries = stored.map {
            ContextCache.Entry(
                turn: $0.turn, position: $0.position, system: $0.system, message: $0.message, response: $0.response)
        }
        do throws(RedisError) {
            try await contexts.fill(turn.conversation, entries: entries)
        } catch {
            // What was read is read. The conversation's next turn asks the shard again.
            logger.notice("a history is not cached", metadata: ["error": "\(error)"])
        }
        if let after = turn.after, !entries.contains(where: { $0.turn == after }) {
            let isKnown = try await log.record(of: after) != nil
            guard !isKnown, !insists else { throw PredecessorMissing(turn: after) }
        }
        return entries.filter { $0.isBefore(turn) }
    }

    private func waitUntilSettled(_ turn: Turn) async throws {
        let shard = database.shard(for: turn.conversation.owner).name
        let marker = SettleMarker(name: "\(turn.id):\(UInt64.random(in: .min ... .max))")
        try await publisher.publish(
            OutgoingMessage(
                queue: Topology.responseQueue(shard: shard), body: Array(try JSONEncoder().encode(marker)),
                id: marker.name, headers: [SettleMarker.header: "1"]))
        var pause = Duration.milliseconds(2)
        let patience = ContinuousClock.now + HistorySource.markerPatience
        while try await !markers.exists(marker.name) {
            // A marker can be lost with Redis' memory: a new one is sent then.
            guard ContinuousClock.now < patience else { throw MarkerLost() }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(100))
        }
    }

    private struct MarkerLost: Error {}

    private struct PredecessorMissing: Error {
        let turn: TurnID
    }
}
