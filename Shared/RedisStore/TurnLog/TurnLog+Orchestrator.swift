import ChatCore

extension TurnLog {
    /// Takes the turn's lease under a new epoch, max(stored + 1, Redis TIME in µs), which rises over an emptied Redis too.
    /// - Parameters:
    ///   - redelivered: the broker says that an earlier delivery was lost: takes over whoever holds the lease.
    ///   - creates: makes a missing record again from `turn` (Redis was emptied).
    public func acquire(
        _ turn: Turn, owner: String, redelivered: Bool, creates: Bool = true
    ) async throws(RedisError) -> Acquisition { throw RedisError.notBuilt }

    /// Appends tokens from index `first` on as one entry and sends it as a hint to every reader. No tokens: only looks
    /// whether the lease still stands and who reads.
    public func append(
        _ lease: Lease, first: Int, tokens: [Token]
    ) async throws(RedisError) -> AppendResult { throw RedisError.notBuilt }

    /// Stores the plan unless there is one. Returns the stored one; nil when fenced.
    public func recordPlan(_ lease: Lease, plan: [UInt8]) async throws(RedisError) -> [UInt8]? {
        throw RedisError.notBuilt
    }

    /// Counts a start of generation. nil when fenced.
    public func beginAttempt(
        _ lease: Lease, node: String, numericsID: String
    ) async throws(RedisError) -> Attempts? { throw RedisError.notBuilt }

    /// Stores the outcome unless there is one, hidden from readers. Returns the stored one; nil when fenced.
    public func recordOutcome(_ lease: Lease, outcome: [UInt8]) async throws(RedisError) -> [UInt8]? {
        throw RedisError.notBuilt
    }

    /// Appends the terminal event after token `next` - 1, tells the readers and gives the lease back. Ending an ended
    /// turn changes nothing and returns true.
    /// - Returns: false when fenced.
    /// - Throws: `.unexpectedReply` when the log does not hold `next` tokens.
    public func end(_ lease: Lease, next: Int, end: TurnEnd) async throws(RedisError) -> Bool {
        throw RedisError.notBuilt
    }

    /// Gives the lease back, so that the next delivery acquires at once. Returns false when it was not ours.
    @discardableResult
    public func release(_ lease: Lease) async throws(RedisError) -> Bool { throw RedisError.notBuilt }

    /// Who reads; nil for an unknown turn.
    public func presence(of turn: TurnID) async throws(RedisError) -> Audience? { throw RedisError.notBuilt }
}
