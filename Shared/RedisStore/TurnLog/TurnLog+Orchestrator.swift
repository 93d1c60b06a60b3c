import ChatCore

extension TurnLog {
    /// Takes the turn's lease under a new epoch, max(stored + 1, known + 1, Redis TIME in µs), which rises over an emptied
    /// Redis too, and for whoever held the turn before also when that Redis' clock was set back.
    ///
    /// After an unclear failure ask again: `.held` by oneself, for a turn that one is not working on, is one's own lost
    /// acquisition, to be taken `from` oneself: not by force, for another may have it by then.
    /// - Parameters:
    ///   - redelivered: the broker says that an earlier delivery was lost: takes over whoever holds the lease.
    ///   - from: takes the lease from this owner, and from no other.
    ///   - creates: makes a missing record again from `turn` (Redis was emptied).
    ///   - known: the last epoch under which the owner held the turn.
    public func acquire(
        _ turn: Turn, owner: String, redelivered: Bool, from other: String? = nil, creates: Bool = true,
        known: Int64 = 0
    ) async throws(RedisError) -> Acquisition {
        let arguments: [RedisArgument] = [
            .text(owner), redelivered ? 1 : 0, creates ? 1 : 0, .text(other ?? ""), .integer(max(known, 0)),
        ]
        let reply = try await pool.run(
            TurnLogScripts.acquire, keys: TurnLog.keys(turn.id), arguments: recordArguments(turn) + arguments)
        guard let parts = reply.array, let verdict = parts.first?.text else { throw TurnLog.unexpected(reply) }
        switch verdict {
        case "unknown": return .unknown
        case "ended": return .ended
        case "held" where parts.count == 2: return .held(owner: parts[1].text ?? "")
        case "acquired" where parts.count == 10:
            guard let epoch = parts[1].int, WireBounds.epochs.contains(epoch) else { throw TurnLog.unexpected(reply) }
            let progress = try await work.compute(bytes: reply.extent) { _ in try Progress(parts) }
            return .acquired(Lease(turn: turn.id, epoch: epoch, owner: owner), progress)
        default: throw TurnLog.unexpected(reply)
        }
    }

    /// Appends tokens from index `first` on as one entry and sends it as a hint to every reader. No tokens: only looks
    /// whether the lease still stands and who reads.
    public func append(
        _ lease: Lease, first: Int, tokens: [Token]
    ) async throws(RedisError) -> AppendResult {
        let entry = try LogEntry.tokens(first: first, tokens).encoded(lease.turn)
        let reply = try await pool.run(
            TurnLogScripts.append, keys: lease.keys,
            arguments: fence(lease) + [.integer(Int64(first)), .integer(Int64(first + tokens.count)), .bytes(entry)])
        guard let parts = reply.array else { throw TurnLog.unexpected(reply) }
        switch parts.first?.text {
        case "fenced": return .fenced
        case "gap" where parts.count == 2:
            guard let expected = parts[1].count else { throw TurnLog.unexpected(reply) }
            return .gap(expected: expected)
        case "appended": return .appended(try Audience(parts.dropFirst()))
        default: throw TurnLog.unexpected(reply)
        }
    }

    /// Tells the turn's readers where it waits. Not logged: whoever reads later learns of it with the next call.
    public func tell(_ wait: TurnWait, of turn: TurnID) async throws(RedisError) {
        let hint = try LogEntry.waiting(wait).encoded(turn)
        _ = try await pool.run(TurnLogScripts.tell, keys: TurnLog.keys(turn), arguments: [.bytes(hint)])
    }

    /// Stores the plan unless there is one. Returns the stored one; nil when fenced.
    public func recordPlan(_ lease: Lease, plan: [UInt8]) async throws(RedisError) -> [UInt8]? {
        try await recordOnce(lease, "plan", plan)
    }

    /// Stores the outcome unless there is one, hidden from readers. Returns the stored one; nil when fenced.
    public func recordOutcome(_ lease: Lease, outcome: [UInt8]) async throws(RedisError) -> [UInt8]? {
        try await recordOnce(lease, "outcome", outcome)
    }

    /// Counts a start of generation, and stores the plan unless there is one: both in one trip, on the way to the first
    /// token. nil when fenced.
    /// - Parameters:
    ///   - mark: a number that the lease's holder uses for one start. A repeat, since a reply was lost, counts nothing and
    ///     returns what the start returned.
    ///   - verdicts: how earlier attempts ended, so far as the record does not say. Each attempt's first one counts.
    /// - Returns: the counts, the stored plan, and the time in ms of the Redis clock.
    public func beginAttempt(
        _ lease: Lease, mark: UInt64, node: String, numericsID: String, plan: [UInt8], verdicts: [Verdict] = []
    ) async throws(RedisError) -> (attempts: Attempts, plan: [UInt8], startedAt: Int64)? {
        let reply = try await pool.run(
            TurnLogScripts.beginAttempt, keys: lease.keys,
            arguments: fence(lease) + [.text(node), .text(numericsID), .bytes(plan), .text("\(mark)")]
                + arguments(verdicts))
        guard let parts = reply.array else { return nil }
        guard parts.count == 4, let total = parts[0].count, let stalled = parts[1].count, let plan = parts[2].data,
            let now = parts[3].time
        else { throw TurnLog.unexpected(reply) }
        return (Attempts(total: total, withoutProgress: stalled), plan, now)
    }

    /// Counts that something begins with the turn that might end this very process, or takes the count back when it is over.
    /// - Returns: how often it has begun and was not over, this time included; nil when fenced.
    public func suspect(_ lease: Lease, begins: Bool) async throws(RedisError) -> Int? {
        try await pool.run(
            TurnLogScripts.suspect, keys: lease.keys, arguments: fence(lease) + [begins ? 1 : 0]
        ).count
    }

    /// Appends the terminal event after token `next` - 1, tells the readers and gives the lease back. Ending an ended
    /// turn changes nothing and returns true.
    /// - Returns: false when fenced.
    /// - Throws: `.unexpectedReply` when the log does not hold `next` tokens.
    public func end(_ lease: Lease, next: Int, end: TurnEnd) async throws(RedisError) -> Bool {
        let entry = try LogEntry.end(next: next, end).encoded(lease.turn)
        let reply = try await pool.run(
            TurnLogScripts.end, keys: lease.keys,
            arguments: fence(lease) + [.integer(Int64(next)), .bytes(entry)])
        guard let parts = reply.array else { throw TurnLog.unexpected(reply) }
        switch parts.first?.text {
        case "ended": return true
        case "fenced": return false
        case "gap" where parts.count == 2:
            throw .unexpectedReply("the log holds \(parts[1].int ?? 0) tokens, not \(next)")
        default: throw TurnLog.unexpected(reply)
        }
    }

    /// Gives the lease back, so that the next delivery acquires at once. Returns false when it was not ours.
    /// - Parameters:
    ///   - parkedBy: who waits for the turn on a rung of the retry ladder, and is told of its cancellation; counts a retry.
    ///   - verdicts: how attempts ended, so far as the record does not say.
    @discardableResult
    public func release(
        _ lease: Lease, parkedBy: String? = nil, verdicts: [Verdict] = []
    ) async throws(RedisError) -> Bool {
        try await pool.run(
            TurnLogScripts.release, keys: lease.keys,
            arguments: fence(lease) + [.text(parkedBy ?? "")] + arguments(verdicts)
        ).int == 1
    }

    /// Who reads; nil for an unknown turn.
    public func presence(of turn: TurnID) async throws(RedisError) -> Audience? {
        let reply = try await pool.run(TurnLogScripts.presence, keys: TurnLog.keys(turn), arguments: [])
        guard let parts = reply.array else { return nil }
        return try Audience(parts[...])
    }

    private func arguments(_ verdicts: [Verdict]) -> [RedisArgument] {
        verdicts.flatMap { verdict -> [RedisArgument] in
            [.integer(Int64(max(1, verdict.attempt))), .text(verdict.reason), verdict.isFruitless ? 1 : 0]
        }
    }

    private func recordOnce(
        _ lease: Lease, _ field: String, _ value: [UInt8]
    ) async throws(RedisError) -> [UInt8]? {
        try await pool.run(
            TurnLogScripts.recordOnce, keys: lease.keys,
            arguments: fence(lease) + [.text(field), .bytes(value)]
        ).data
    }

    private func fence(_ lease: Lease) -> [RedisArgument] { [.integer(lease.epoch), .text(lease.owner)] }

    private static func unexpected(_ reply: RedisValue) -> RedisError {
        .unexpectedReply("a turn log script: \(reply.summary)")
    }
}

extension TurnLog.Audience {
    /// Reads `readers, absentFor (-1: nobody is missing), cancel`; a missing last part is Lua's nil.
    init(_ parts: ArraySlice<RedisValue>) throws(RedisError) {
        let parts = Array(parts)
        guard parts.count >= 2, let readers = parts[0].count, let absent = parts[1].int else {
            throw .unexpectedReply("a turn's audience")
        }
        self.init(
            readers: readers, absentForMilliseconds: absent < 0 ? nil : absent,
            cancelReason: parts.count > 2 ? parts[2].text : nil)
    }
}

extension TurnLog.Progress {
    /// Reads `'acquired', epoch, log, plan, outcome, cancel, attempts, stalled, retries, history`.
    init(_ parts: [RedisValue]) throws(RedisError) {
        var tokens: [TurnLog.Token] = []
        for entry in try LogEntry.list(parts[2]) {
            guard case .tokens(let first, let more) = entry, first == tokens.count else {
                throw .unexpectedReply("a log that is not whole at token \(tokens.count)")
            }
            tokens += more
        }
        self.init(
            tokens: tokens, plan: parts[3].data, outcome: parts[4].data, hasEnded: false, cancelReason: parts[5].text,
            attempts: .init(total: parts[6].count ?? 0, withoutProgress: parts[7].count ?? 0),
            retries: parts[8].count ?? 0, history: TurnOutcome.Attempt.list(parts[9].array ?? []))
    }
}

extension TurnOutcome.Attempt {
    /// Reads the record's pairs of `<epoch> <ms> <node>` and why the attempt ended; what cannot be read is left out.
    static func list(_ values: [RedisValue]) -> [TurnOutcome.Attempt] {
        stride(from: 0, to: values.count - 1, by: 2).compactMap { index in
            let parts = (values[index].text ?? "").split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, let epoch = Int64(parts[0]), let time = Int64(parts[1]),
                WireBounds.epochs.contains(epoch), WireBounds.times.contains(time)
            else { return nil }
            let reason = values[index + 1].text.flatMap { $0.isEmpty ? nil : $0 }
            return TurnOutcome.Attempt(node: String(parts[2]), epoch: epoch, startedAt: time, endReason: reason)
        }
    }
}
