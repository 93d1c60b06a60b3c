import ChatCore
import RedisStore
import ServiceKit

/// A turn as it is queued. It is encoded once, before its bytes are counted; its place in its conversation, which is given
/// later, is written to its end.
struct TurnMessage {
    /// A JSON object.
    private(set) var body: [UInt8]

    /// What a place comes to at most: the names, a number of 20 digits, an id.
    private static let placeBytes = 96

    /// - Throws: `EncodingError`, `WorkPool.Full`, `CancellationError`.
    init(_ turn: Turn, on pool: WorkPool = .shared) async throws {
        var placeless = turn
        (placeless.sequence, placeless.after) = (nil, nil)
        body = try await pool.encode(placeless, bytes: turn.wireBytes, room: TurnMessage.placeBytes)
    }

    /// Once: an object has each of its members once.
    mutating func write(_ place: ConversationOrder.Place) {
        var members = ",\"sequence\":\(place.sequence)"
        if let predecessor = place.predecessor { members += ",\"after\":\"\(predecessor)\"" }
        // The object has other members, and its brace is the last byte.
        body.removeLast()
        body += members.utf8
        body.append(UInt8(ascii: "}"))
    }
}
