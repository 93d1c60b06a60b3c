import ChatCore

/// What the living orchestrators have to do: sorted set `{load}:expiries`, hash `{load}:announcements`.
public struct LoadDirectory: Sendable {
    private let board: AnnouncementBoard<OrchestratorLoad>

    public init(pool: RedisPool) { board = AnnouncementBoard(pool: pool, name: "load") }

    public func announce(_ load: OrchestratorLoad, ttl: Duration) async throws(RedisError) {
        try await board.announce(load, id: load.id, ttl: ttl)
    }

    public func withdraw(_ id: String) async throws(RedisError) { try await board.withdraw(id) }

    /// In the order of ids; one round trip.
    public func loads() async throws(RedisError) -> [OrchestratorLoad] {
        try await board.all().sorted { $0.id < $1.id }
    }
}
