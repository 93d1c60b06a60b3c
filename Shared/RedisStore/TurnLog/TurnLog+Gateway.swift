import ChatCore

extension TurnLog {
    /// Makes the turn's record, before the turn is published.
    public func reserve(_ turn: Turn) async throws(RedisError) -> Reservation {
        let reply = try await pool.run(reservation(of: turn))
        guard !reply.isNull else { return .reserved }
        guard let record = try Record(reply) else { throw .unexpectedReply("an empty record") }
        return .existed(record)
    }

    /// What Redis gives a turn before it is published, in one trip: a record, a place among the unfinished turns of its user
    /// and its tenant, and one in its conversation. Each has keys and a script of its own: after a refusal by one the others
    /// are to be taken back.
    /// - Parameter bytes: of the turn's message.
    /// - Returns: the limit of unfinished turns that it would pass, and its place as `ConversationOrder.join` gives it.
    public func reserve(
        _ turn: Turn, bytes: Int, among outstanding: OutstandingTurns, limits: OutstandingTurns.Limits,
        in order: ConversationOrder
    ) async throws(RedisError) -> (passed: OutstandingTurns.Limit?, place: ConversationOrder.Place?) {
        let replies = try await pool.run([
            outstanding.taking(turn, bytes: bytes, limits: limits), reservation(of: turn), order.joining(turn),
        ])
        guard replies.count == 3 else { throw .unexpectedReply("\(replies.count) replies to three scripts") }
        return (try OutstandingTurns.passed(replies[0], limits), try ConversationOrder.Place(replies[2]))
    }

    private func reservation(of turn: Turn) -> ScriptCall {
        ScriptCall(script: TurnLogScripts.reserve, keys: TurnLog.keys(turn.id), arguments: recordArguments(turn))
    }

    /// Removes a reservation whose publish failed for certain. A turn that was ever leased stays.
    /// - Returns: whether it was removed.
    @discardableResult
    public func forget(_ turn: TurnID) async throws(RedisError) -> Bool {
        try await pool.run(TurnLogScripts.forget, keys: TurnLog.keys(turn), arguments: []).int == 1
    }

    public func record(of turn: TurnID) async throws(RedisError) -> Record? {
        try Record(try await pool.run(TurnLogScripts.lookUp, keys: TurnLog.keys(turn), arguments: []))
    }

    /// Registers channel `gateway:<reader>` for hints and returns the events from token index `from` on, with the
    /// terminal event if there is one. Call it again at least every half `readerLifetime` while reading.
    public func follow(
        _ turn: TurnID, reader: String, from: Int
    ) async throws(RedisError) -> (events: [TurnEvent], exists: Bool) {
        let from = max(0, from)
        let reply = try await pool.run(
            TurnLogScripts.follow, keys: TurnLog.keys(turn),
            arguments: [.text(reader), .integer(readerLifetime.milliseconds), .integer(Int64(from))])
        guard !reply.isNull else { return ([], false) }
        let events = try await work.compute(bytes: reply.extent) { _ in
            try LogEntry.list(reply).flatMap { $0.events(from: from) }
        }
        return (events, true)
    }

    /// The events from token index `from` on, for one look that registers nobody; nil when there is no such log.
    public func events(of turn: TurnID, from: Int) async throws(RedisError) -> [TurnEvent]? {
        // A reader without a name is not registered.
        let (events, exists) = try await follow(turn, reader: "", from: from)
        return exists ? events : nil
    }

    /// Removes a reader; when it was the last one, absence begins.
    public func unfollow(_ turn: TurnID, reader: String) async throws(RedisError) {
        _ = try await pool.run(TurnLogScripts.unfollow, keys: TurnLog.keys(turn), arguments: [.text(reader)])
    }

    /// Asks for the turn's end: sets a flag that every append reports, and publishes the turn's id (text) to
    /// `orchestrator:<owner>` when there is a lease. The first reason stays.
    /// - Returns: false when the turn is unknown or has ended.
    @discardableResult
    public func requestCancel(_ turn: TurnID, reason: String) async throws(RedisError) -> Bool {
        try await pool.run(
            TurnLogScripts.cancel, keys: TurnLog.keys(turn), arguments: [.text(reason), .text(turn.description)]
        ).int == 1
    }

    /// The channel of a gateway's hints.
    public static func channel(ofReader reader: String) -> String { "gateway:\(reader)" }

    /// The channel of an orchestrator's cancellations; its messages are turn ids as text.
    public static func channel(ofOwner owner: String) -> String { "orchestrator:\(owner)" }
}

extension TurnLog {
    static func keys(_ turn: TurnID) -> [String] {
        let log = "turn:{\(turn)}"
        return [log, log + ":record", log + ":readers"]
    }

    /// ARGV 1...7 of the scripts that may make a record.
    func recordArguments(_ turn: Turn) -> [RedisArgument] {
        [
            .text(turn.conversation.owner.tenant), .text(turn.conversation.owner.user),
            .integer(turn.conversation.id.value), .text(turn.kind.rawValue), .integer(turn.acceptedAt),
            .integer(turn.deadline), .integer(retention.milliseconds),
        ]
    }
}

extension TurnLog.Record {
    /// Reads the fields in the order in which the scripts give them; nil when there is no record.
    init?(_ reply: RedisValue) throws(RedisError) {
        guard let fields = reply.array, fields.count == 8 else { throw .unexpectedReply("a record: \(reply.summary)") }
        guard fields.contains(where: { !$0.isNull }) else { return nil }
        guard let tenant = fields[0].text, let user = fields[1].text,
            let conversation = fields[2].int.flatMap({ ConversationID($0) }),
            let kind = fields[3].text.flatMap({ Turn.Kind(rawValue: $0) }), let acceptedAt = fields[4].time,
            let deadline = fields[5].time, let next = fields[7].count
        else { throw .unexpectedReply("a record with a malformed field") }
        self.init(
            owner: UserKey(tenant: tenant, user: user), conversation: conversation, kind: kind, acceptedAt: acceptedAt,
            deadline: deadline, hasEnded: !fields[6].isNull, next: next)
    }
}
