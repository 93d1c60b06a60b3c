import Foundation

/// A message in JSON that another process wrote: whatever decodes it checks it, so that the code behind it may compute
/// with its numbers. A queue, a store and a row may hold anything.
public protocol WireMessage: Codable {
    /// - Throws: `WireError`, which names the field whose value no message may have.
    func check() throws(WireError)
}

extension WireMessage {
    /// - Throws: `DecodingError` when the bytes are no such message, `WireError` when it holds what no message may hold.
    public init(message body: some Sequence<UInt8>) throws {
        self = try JSONDecoder().decode(Self.self, from: Data(body))
        try check()
    }
}

/// The values that numbers of messages may have. They are so far from the ends of `Int64` that sums and differences of
/// a few of them exist.
public enum WireBounds {
    /// Unix milliseconds, from 1970 to the end of the year 9999, which is the last that ISO 8601 and PostgreSQL write
    /// alike; and lengths of time in milliseconds.
    public static let times = Int64(0)...253_402_300_799_999
    /// Tokens, turns, places, attempts: what is counted one by one.
    public static let counts = 0...Int(Int32.max)
    /// Epochs of leases, which are Unix microseconds or a little above: the whole numbers that a Redis script can hold.
    public static let epochs = Int64(0)...(1 << 53)

    static func check(time: Int64?, _ field: String) throws(WireError) {
        guard times.contains(time ?? 0) else { throw WireError(field: field) }
    }

    static func check(count: Int?, _ field: String) throws(WireError) {
        guard counts.contains(count ?? 0) else { throw WireError(field: field) }
    }

    static func check(epoch: Int64, _ field: String) throws(WireError) {
        guard epochs.contains(epoch) else { throw WireError(field: field) }
    }

    static func check(version: Int, _ expected: Int) throws(WireError) {
        guard version == expected else { throw WireError(field: "version") }
    }
}

extension Int64 {
    /// The time that has passed between two Unix times in milliseconds: 0 when `start` is the later one, and no more than
    /// a time may be, whatever the two are.
    public func milliseconds(since start: Int64) -> Int64 {
        let (passed, isBeyond) = subtractingReportingOverflow(start)
        guard !isBeyond else { return self > start ? WireBounds.times.upperBound : 0 }
        return Swift.min(Swift.max(0, passed), WireBounds.times.upperBound)
    }
}

extension Turn: WireMessage {
    public func check() throws(WireError) {
        try WireBounds.check(version: version, Turn.formatVersion)
        try WireBounds.check(time: acceptedAt, "acceptedAt")
        try WireBounds.check(time: deadline, "deadline")
        try sampling.check()
        try degradation?.check()
    }
}

extension Turn.Sampling {
    func check() throws(WireError) {
        try WireBounds.check(count: maxTokens, "sampling.maxTokens")
        guard maxTokens > 0 else { throw WireError(field: "sampling.maxTokens") }
        try WireBounds.check(count: topK, "sampling.topK")
    }
}

extension Turn.Degradation {
    func check() throws(WireError) {
        try WireBounds.check(count: contextTokens, "degradation.contextTokens")
        try WireBounds.check(count: requestedMaxTokens, "degradation.requestedMaxTokens")
    }
}

extension TurnOutcome: WireMessage {
    public func check() throws(WireError) {
        try WireBounds.check(version: version, TurnOutcome.formatVersion)
        try WireBounds.check(time: acceptedAt, "acceptedAt")
        try WireBounds.check(time: firstTokenAt, "firstTokenAt")
        try WireBounds.check(time: endedAt, "endedAt")
        try usage.check()
        try WireBounds.check(count: attempts, "attempts")
        for end in eventEnds { try WireBounds.check(count: end, "eventEnds") }
        for attempt in attemptLog ?? [] {
            try WireBounds.check(epoch: attempt.epoch, "attemptLog.epoch")
            try WireBounds.check(time: attempt.startedAt, "attemptLog.startedAt")
        }
        try degradation?.check()
    }
}

extension TurnOutcome.Usage {
    func check() throws(WireError) {
        try WireBounds.check(count: promptTokens, "usage.promptTokens")
        try WireBounds.check(count: completionTokens, "usage.completionTokens")
    }
}

extension TurnEnd: WireMessage {
    public func check() throws(WireError) {
        try usage.check()
        try WireBounds.check(time: duration, "duration")
        try degradation?.check()
    }
}

extension GenerationJob: WireMessage {
    public func check() throws(WireError) {
        try WireBounds.check(version: version, GenerationJob.formatVersion)
        try WireBounds.check(epoch: epoch, "epoch")
        try WireBounds.check(count: attempt, "attempt")
        try WireBounds.check(time: deadline, "deadline")
        try sampling.check()
    }
}

extension NodeControl: WireMessage {
    public func check() throws(WireError) {
        try WireBounds.check(epoch: epoch, "epoch")
        try WireBounds.check(count: attempt, "attempt")
    }
}

extension SettleMarker: WireMessage {
    public func check() throws(WireError) {}
}

extension OrchestratorLoad: WireMessage {
    public func check() throws(WireError) {
        for kind in Turn.Kind.byUrgency {
            for tenant in waiting[kind].tenants {
                try WireBounds.check(count: tenant.turns, "waiting.turns")
                try WireBounds.check(count: tenant.users, "waiting.users")
            }
            try WireBounds.check(count: waiting[kind].furtherTenants, "waiting.furtherTenants")
            try WireBounds.check(count: waiting[kind].furtherTurns, "waiting.furtherTurns")
            try WireBounds.check(count: running[kind], "running")
        }
        for count in used.values { try WireBounds.check(count: count, "used") }
        try WireBounds.check(count: places, "places")
        for time in (newestDelivered ?? [:]).values { try WireBounds.check(time: time, "newestDelivered") }
    }
}
