import ChatCore
import Logging
import PostgresStore

/// Finds turns whose log has expired in their shard, and replays them under the same event ids.
struct SettledTurns: Sendable {
    let conversations: ConversationRepository
    let logger: Logger

    /// The settled turn, if it is this tenant's.
    func find(_ id: TurnID, of tenant: String) async throws(APIError) -> TurnOutcome {
        let outcome: TurnOutcome?
        do throws(DatabaseError) {
            outcome = try await conversations.turn(id, tenant: tenant)
        } catch {
            logger.warning("a settled turn could not be looked up", metadata: ["turn": "\(id)", "error": "\(error)"])
            throw .unavailable("the turn's store")
        }
        guard let outcome else { throw .unknownTurn }
        return outcome
    }
}

extension TurnOutcome {
    /// About how many bytes the events of the turn's log come to.
    var eventBytes: Int { response.utf8.count + eventEnds.count * ServerSentEvents.tokenBytes }

    /// The events of the turn's log from token index `from` on, cut out of the stored text.
    func events(from: Int) -> [TurnEvent] {
        let bytes = Array(response.utf8)
        var events: [TurnEvent] = []
        var start = 0
        for (index, end) in eventEnds.enumerated() {
            // The ends come from a store: one that lies is cut to the text there is.
            let end = min(max(end, start), bytes.count)
            if index >= from {
                events.append(.token(index: index, text: String(decoding: bytes[start..<end], as: UTF8.self)))
            }
            start = end
        }
        events.append(.end(next: eventEnds.count, TurnEnd(outcome: self)))
        return events
    }
}
