import ChatCore

/// The unfinished turns of each user, counted at accept.
public struct OutstandingTurns: Sendable {
    public init(pool: RedisPool) {}

    /// Counts the turn unless the user has `limit` already. Taking the same turn again returns true and counts once.
    /// - Parameter deadline: Unix time in milliseconds of the Redis clock, at which the turn falls out by itself.
    public func take(
        user: UserKey, turn: TurnID, limit: Int, until deadline: Int64
    ) async throws(RedisError) -> Bool { throw RedisError.notBuilt }

    public func release(user: UserKey, turn: TurnID) async throws(RedisError) { throw RedisError.notBuilt }
}
