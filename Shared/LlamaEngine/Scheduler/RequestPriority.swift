/// The class of a request; what somebody watches goes first.
public enum RequestPriority: String, Sendable, Codable, CaseIterable, Comparable {
    /// Lowest: for free capacity.
    case batch
    /// An answer that is sent when it is complete.
    case chat
    /// Highest: tokens that somebody reads as they come.
    case stream

    private var rank: Int {
        switch self {
        case .batch: 0
        case .chat: 1
        case .stream: 2
        }
    }

    public static func < (a: RequestPriority, b: RequestPriority) -> Bool { a.rank < b.rank }
}
