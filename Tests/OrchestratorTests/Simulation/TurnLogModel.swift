import ChatCore
import RedisStore

/// What the turn log's scripts decide, as a pure model; `TurnLogDifferentialTests` holds it against the real scripts.
///
/// Readers and times are left out: nobody reads, and absence is never long.
struct TurnLogModel {
    struct Record: Equatable {
        var epoch: Int64 = 0
        var owner = ""
        var tokens: [TurnLog.Token] = []
        var hasEnded = false
        var cancel: String?
        var plan: [UInt8]?
        var outcome: [UInt8]?
        var attempts = 0
        var stalled = 0
        var retries = 0
        var parked: String?
        /// Node, epoch and end of each attempt; times are the server's own.
        var history: [(node: String, epoch: Int64)] = []
        /// Why attempts ended, by their numbers.
        var ends: [Int: String] = [:]
        /// Epoch and mark of the last beginning.
        var mark: (epoch: Int64, mark: UInt64)?

        static func == (left: Record, right: Record) -> Bool { left.epoch == right.epoch && left.owner == right.owner }
    }

    private(set) var records: [TurnID: Record] = [:]

    /// Redis loses everything, or one turn's keys.
    mutating func lose(_ turn: TurnID? = nil) {
        if let turn { records[turn] = nil } else { records = [:] }
    }

    mutating func reserve(_ turn: TurnID) -> Bool {
        guard records[turn] == nil else { return false }
        records[turn] = Record()
        return true
    }

    mutating func forget(_ turn: TurnID) -> Bool {
        guard records[turn]?.epoch == 0 else { return false }
        records[turn] = nil
        return true
    }

    mutating func acquire(
        _ turn: TurnID, owner: String, redelivered: Bool, from other: String? = nil, creates: Bool, micros: Int64,
        known: Int64 = 0
    ) -> TurnLog.Acquisition {
        if records[turn] == nil {
            guard creates else { return .unknown }
            records[turn] = Record()
        }
        guard var record = records[turn] else { return .unknown }
        if record.hasEnded { return .ended }
        if !record.owner.isEmpty, record.owner != other, !redelivered { return .held(owner: record.owner) }
        record.epoch = max(record.epoch + 1, known + 1, micros)
        record.owner = owner
        record.parked = nil
        records[turn] = record
        let progress = TurnLog.Progress(
            tokens: record.tokens, plan: record.plan, outcome: record.outcome, cancelReason: record.cancel,
            attempts: .init(total: record.attempts, withoutProgress: record.stalled), retries: record.retries,
            history: record.history.enumerated().suffix(64).map { index, attempt in
                .init(node: attempt.node, epoch: attempt.epoch, startedAt: 0, endReason: record.ends[index + 1])
            })
        return .acquired(TurnLog.Lease(turn: turn, epoch: record.epoch, owner: owner), progress)
    }

    private func fenced(_ lease: TurnLog.Lease) -> Record? {
        guard let record = records[lease.turn], record.epoch == lease.epoch, record.owner == lease.owner,
            !lease.owner.isEmpty, !record.hasEnded
        else { return nil }
        return record
    }

    mutating func append(_ lease: TurnLog.Lease, first: Int, tokens: [TurnLog.Token]) -> TurnLog.AppendResult {
        guard var record = fenced(lease) else { return .fenced }
        guard first == record.tokens.count else { return .gap(expected: record.tokens.count) }
        if !tokens.isEmpty {
            record.tokens += tokens
            record.stalled = 0
            records[lease.turn] = record
        }
        return .appended(TurnLog.Audience(readers: 0, cancelReason: record.cancel))
    }

    mutating func recordPlan(_ lease: TurnLog.Lease, plan: [UInt8]) -> [UInt8]? {
        guard var record = fenced(lease) else { return nil }
        record.plan = record.plan ?? plan
        records[lease.turn] = record
        return record.plan
    }

    mutating func recordOutcome(_ lease: TurnLog.Lease, outcome: [UInt8]) -> [UInt8]? {
        guard var record = fenced(lease) else { return nil }
        record.outcome = record.outcome ?? outcome
        records[lease.turn] = record
        return record.outcome
    }

    mutating func beginAttempt(
        _ lease: TurnLog.Lease, mark: UInt64, node: String, plan: [UInt8], verdicts: [TurnLog.Verdict]
    ) -> (attempts: TurnLog.Attempts, plan: [UInt8])? {
        guard var record = fenced(lease) else { return nil }
        record.take(verdicts)
        let stored = record.plan ?? plan
        record.plan = stored
        if record.mark.map({ $0 != (lease.epoch, mark) }) ?? true {
            record.mark = (lease.epoch, mark)
            record.attempts += 1
            record.history.append((node, lease.epoch))
            record.ends[record.attempts] = nil
        }
        records[lease.turn] = record
        return (.init(total: record.attempts, withoutProgress: record.stalled), stored)
    }

    /// nil: fenced; false: the log does not hold `next` tokens.
    mutating func end(_ lease: TurnLog.Lease, next: Int) -> Bool? {
        guard records[lease.turn]?.hasEnded != true else { return true }
        guard var record = fenced(lease) else { return nil }
        guard next == record.tokens.count else { return false }
        record.hasEnded = true
        record.owner = ""
        records[lease.turn] = record
        return true
    }

    mutating func release(_ lease: TurnLog.Lease, parkedBy: String?, verdicts: [TurnLog.Verdict]) -> Bool {
        guard var record = fenced(lease) else { return false }
        record.take(verdicts)
        record.owner = ""
        if let parkedBy {
            record.parked = parkedBy
            record.retries += 1
        }
        records[lease.turn] = record
        return true
    }

    mutating func requestCancel(_ turn: TurnID, reason: String) -> Bool {
        guard var record = records[turn], !record.hasEnded else { return false }
        record.cancel = record.cancel ?? reason
        records[turn] = record
        return true
    }
}

extension TurnLogModel.Record {
    fileprivate mutating func take(_ verdicts: [TurnLog.Verdict]) {
        for verdict in verdicts {
            // There is no bound here: a slot of the real record is used again after 64 attempts.
            guard ends[verdict.attempt] == nil else { continue }
            ends[verdict.attempt] = verdict.reason
            if verdict.isFruitless { stalled += 1 }
        }
    }
}
