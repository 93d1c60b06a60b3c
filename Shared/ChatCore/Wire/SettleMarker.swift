/// A message in a shard's response queue that says nothing but "up to here": the queue worker sets the marker in Redis
/// when all outcomes before it are settled.
public struct SettleMarker: Sendable, Codable, Equatable {
    /// The header by which markers are told from outcomes.
    public static let header = "settle-marker"

    public let name: String

    public init(name: String) { self.name = name }
}
