/// The order of a conversation: the number that a turn is given when it joins it, in microseconds of the Redis clock or one
/// more than the number before it. No two turns of a conversation have the same.
public enum ConversationPosition {
    /// Whole numbers that Redis' scripts compute with exactly; in microseconds the year 2255.
    public static let range: ClosedRange<Int64> = 0...9_007_199_254_740_991

    /// The number that was given; of turns accepted before there were any, and of numbers that nobody gives, the time of
    /// acceptance.
    static func of(_ sequence: Int64?, acceptedAt milliseconds: Int64) -> Int64 {
        if let sequence, range.contains(sequence) { return sequence }
        let (micros, overflow) = milliseconds.multipliedReportingOverflow(by: 1000)
        return overflow ? (milliseconds < 0 ? 0 : range.upperBound) : min(max(micros, 0), range.upperBound)
    }
}

extension Turn {
    /// The turn's number in its conversation.
    public var position: Int64 { ConversationPosition.of(sequence, acceptedAt: acceptedAt) }
}

extension TurnOutcome {
    /// The turn's number in its conversation.
    public var position: Int64 { ConversationPosition.of(sequence, acceptedAt: acceptedAt) }
}
