/// How a deterministic turn shares answers with identical ones of its tenant; a turn without it does not.
public struct AnswerUse: Sendable, Codable, Equatable {
    /// The digest of all that the answer follows from, as it was known at accept.
    public var key: String
    /// Whether another turn's answer may be given; the turn's own is kept in either case.
    public var mayReuse: Bool

    public init(key: String, mayReuse: Bool) {
        self.key = key
        self.mayReuse = mayReuse
    }
}
