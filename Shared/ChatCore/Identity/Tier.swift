/// What a key's holder was promised: it decides for how long a wait its turns are still accepted under load, and
/// whether they may be generated at two nodes at once.
public enum Tier: String, Sendable, Codable, CaseIterable {
    /// Refused last, and the only one whose turns are hedged.
    case premium
    case standard
    /// Refused first.
    case economy

    /// A name that this version does not know is the standard tier: a message of a newer version is no poison.
    public init(from decoder: any Decoder) throws {
        self = Tier(rawValue: try decoder.singleValueContainer().decode(String.self)) ?? .standard
    }
}
