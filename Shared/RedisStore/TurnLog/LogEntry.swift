import ChatCore

extension TurnLog {
    /// Reads a hint from a gateway's channel: the same bytes as the log's entry.
    public static func decode(hint: [UInt8]) throws(WireError) -> (turn: TurnID, events: [TurnEvent]) {
        throw WireError(field: "magic")
    }
}
