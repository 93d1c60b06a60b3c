import ChatCore

extension TurnLog {
    /// Makes the turn's record, before the turn is published.
    public func reserve(_ turn: Turn) async throws(RedisError) -> Reservation { throw RedisError.notBuilt }

    /// Removes a reservation whose publish failed for certain. A turn that was ever leased stays.
    /// - Returns: whether it was removed.
    @discardableResult
    public func forget(_ turn: TurnID) async throws(RedisError) -> Bool { throw RedisError.notBuilt }

    public func record(of turn: TurnID) async throws(RedisError) -> Record? { throw RedisError.notBuilt }

    /// Registers channel `gateway:<reader>` for hints and returns the events from token index `from` on, with the
    /// terminal event if there is one. Call it again at least every half `readerLifetime` while reading.
    public func follow(
        _ turn: TurnID, reader: String, from: Int
    ) async throws(RedisError) -> (events: [TurnEvent], exists: Bool) { throw RedisError.notBuilt }

    /// Removes a reader; when it was the last one, absence begins.
    public func unfollow(_ turn: TurnID, reader: String) async throws(RedisError) { throw RedisError.notBuilt }

    /// Asks for the turn's end: sets a flag that every append reports, and publishes the turn's id (text) to
    /// `orchestrator:<owner>` when there is a lease. The first reason stays.
    /// - Returns: false when the turn is unknown or has ended.
    @discardableResult
    public func requestCancel(_ turn: TurnID, reason: String) async throws(RedisError) -> Bool {
        throw RedisError.notBuilt
    }

    /// The channel of a gateway's hints.
    public static func channel(ofReader reader: String) -> String { "gateway:\(reader)" }

    /// The channel of an orchestrator's cancellations; its messages are turn ids as text.
    public static func channel(ofOwner owner: String) -> String { "orchestrator:\(owner)" }
}
