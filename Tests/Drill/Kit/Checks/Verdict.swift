import ChatCore

/// Compares a disturbed run with the undisturbed one: what the clients saw and what the shards have. Pure.
struct Verdict: Sendable {
    /// One run of the plan.
    struct Run: Sendable {
        var records: [Int: TurnRecord]
        var stored: StoredTurns
    }

    private(set) var violations: [String] = []
    /// Turns of which no end ever came, or another than without disturbance.
    private(set) var lost = 0
    /// Turns that were begun a second time, because the first was cancelled with its client's connection.
    private(set) var secondTurns = 0
    /// Turns that their clients cancelled, and those that had ended before it was heard.
    private(set) var cancelled = 0
    private(set) var finishedFirst = 0
    /// Turns whose generation was begun more than once.
    private(set) var failedOver = 0

    /// - Parameter shardOf: the shard where a user belongs.
    init(_ plan: TurnPlan, calm: Run, drilled: Run, shardOf: (String) -> String) {
        let calmRows = Dictionary(grouping: calm.stored.turns, by: \.message)
        let rows = Dictionary(grouping: drilled.stored.turns, by: \.message)
        for turn in plan.turns {
            let (expected, row) = (calm.records[turn.index], calmRows[turn.message]?.first)
            guard let expected, expected.violations.isEmpty, let row else {
                violations.append(
                    "turn \(turn.index) failed in the undisturbed run: "
                        + (expected.map { $0.violations.joined(separator: "; ") } ?? "it was not begun"))
                continue
            }
            let before = violations.count
            let record = drilled.records[turn.index]
            check(record, of: turn, against: expected)
            check(rows[turn.message] ?? [], of: turn, record, against: row, shardOf)
            if violations.count > before { lost += 1 }
        }
        let messages = Set(plan.turns.map(\.message))
        for row in drilled.stored.turns where !messages.contains(row.message) {
            violations.append("turn \(row.id) is stored, and nobody asked for it")
        }
        checkUsage(drilled.stored)
    }

    private mutating func check(_ record: TurnRecord?, of turn: PlannedTurn, against expected: TurnRecord) {
        guard let record else { return violations.append("turn \(turn.index) was not begun: an earlier one failed") }
        violations += record.violations
        guard record.isEnded else {
            if record.violations.isEmpty { violations.append("turn \(turn.index) did not end") }
            return
        }
        func compare<Value: Equatable>(_ what: String, _ value: Value?, _ expected: Value?) {
            guard value != expected else { return }
            let (value, expected) = ("\(value as Any)".prefix(300), "\(expected as Any)".prefix(300))
            violations.append(
                "turn \(turn.index) (\(record.ids.last ?? "")): \(what) is \(value), undisturbed \(expected)")
        }
        guard !record.isCancelled else { return checkPart(record, of: turn, expected) }
        compare("what was read", record.text, expected.text)
        compare("the events", record.tokens, expected.tokens)
        compare("the usage", record.end?.usage, expected.end?.usage)
        compare("the reason", record.end?.finishReason, expected.end?.finishReason)
    }

    /// A cancelled turn is a beginning of the undisturbed one, or all of it.
    private mutating func checkPart(_ record: TurnRecord, of turn: PlannedTurn, _ expected: TurnRecord) {
        let (tokens, all) = (record.tokens ?? [], expected.tokens ?? [])
        let isWhole = record.end?.status == "done"
        // What was held back as the beginning of a stop string or of a character comes with the end.
        guard isWhole ? tokens == all : tokens.dropLast().elementsEqual(all.prefix(max(0, tokens.count - 1))),
            tokens.count <= all.count, (expected.text ?? "").hasPrefix(record.text ?? "")
        else {
            return violations.append(
                "turn \(turn.index) (\(record.ids.last ?? "")): cancelled, it read \("\(tokens)".prefix(300)), undisturbed \("\(all)".prefix(300))"
            )
        }
        if isWhole { finishedFirst += 1 } else { cancelled += 1 }
    }

    private mutating func check(
        _ rows: [StoredTurn], of turn: PlannedTurn, _ record: TurnRecord?, against expected: StoredTurn,
        _ shardOf: (String) -> String
    ) {
        func violate(_ row: StoredTurn, _ what: String) {
            violations.append("turn \(turn.index) (\(row.id) in \(row.shard)): \(what)")
        }
        guard let record, let id = record.ids.last else { return }
        let own = rows.filter { $0.id == id }
        if own.count != 1 { violations.append("turn \(turn.index) (\(id)) is stored \(own.count) times") }
        for row in own where record.isCancelled && row.status == "cancelled" {
            if row.response != record.text ?? "" { violate(row, "the stored part is another than was read") }
            if row.completionTokens != Int64(record.tokens?.count ?? 0) {
                violate(row, "\(row.completionTokens) tokens were counted")
            }
        }
        for row in own where !(record.isCancelled && row.status == "cancelled") {
            if row.status != expected.status { violate(row, "stored as \(row.status): \(row.error)") }
            if row.response != expected.response || row.eventEnds != expected.eventEnds {
                violate(row, "the stored answer is another")
            }
            if row.promptTokens != expected.promptTokens || row.completionTokens != expected.completionTokens {
                violate(row, "\(row.promptTokens)+\(row.completionTokens) tokens were counted")
            }
            if row.messages != expected.messages { violate(row, "\(row.messages) messages are stored") }
            if row.attempts > 1 { failedOver += 1 }
        }
        for row in rows where row.shard != shardOf(row.user) { violate(row, "stored in the wrong shard") }
        for row in rows where row.id != id {
            // Only a chat may be begun anew, when the connection that it was cancelled with was lost.
            guard turn.kind == .chat, record.repeated > 0, row.status == "cancelled" else {
                violate(row, "a second turn of one request, stored as \(row.status)")
                continue
            }
            secondTurns += 1
            if !expected.response.hasPrefix(row.response) { violate(row, "a cancelled chat's part is another") }
        }
    }

    /// The sums of each user are those of its turns: settling twice would count twice.
    private mutating func checkUsage(_ stored: StoredTurns) {
        let usage = Dictionary(stored.usage.map { ($0.user, $0) }) { first, _ in first }
        for (user, turns) in Dictionary(grouping: stored.turns, by: \.user) {
            let sum = StoredUsage(
                user: user, turns: Int64(turns.count), promptTokens: turns.reduce(0) { $0 + $1.promptTokens },
                completionTokens: turns.reduce(0) { $0 + $1.completionTokens })
            guard usage[user] != sum else { continue }
            violations.append("\(user): usage is \(usage[user].map { "\($0)" } ?? "missing"), its turns are \(sum)")
        }
    }
}
