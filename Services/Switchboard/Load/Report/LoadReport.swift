import Foundation

/// What came of a run, for people (`table`) and for programs (`json`).
struct LoadReport {
    let plan: LoadPlan
    let record: LoadRecord
    /// From the start to the end of the last turn.
    let time: Duration
    /// What this process has used itself, in seconds: a load that takes a core for itself measures itself.
    let processorSeconds: Double

    init(plan: LoadPlan, record: LoadRecord, time: Duration) {
        self.plan = plan
        self.record = record
        self.time = time
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        processorSeconds = [usage.ru_utime, usage.ru_stime].reduce(0) {
            $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6
        }
    }

    var seconds: Double { time / .seconds(1) }
    var steadySeconds: Double { record.steadyTime / .seconds(1) }
    var tokensPerSecond: Double { steadySeconds > 0 ? Double(record.steadyTokens) / steadySeconds : 0 }

    var latencies: [(name: String, key: String, histogram: LatencyHistogram)] {
        var rows: [(name: String, key: String, histogram: LatencyHistogram)] = [("accept", "accept", record.accept)]
        for (name, histogram) in record.serverTiming.sorted(by: { $0.key < $1.key }) {
            rows.append(("  gateway: \(name)", "server_timing_\(name)", histogram))
        }
        rows += [
            ("first token", "first_token", record.firstToken),
            ("between tokens", "between_tokens", record.betweenTokens),
            ("whole turn", "whole_turn", record.whole), ("resume", "resume", record.resume),
            ("own lateness", "own_lateness", record.late),
        ]
        return rows
    }
}

extension LoadReport {
    var table: String {
        var lines = [
            "turns         \(record.begun) begun, \(record.done) done, \(record.errors.sum) failed, "
                + "\(record.cut) cut at the end, \(record.notBegun) not begun",
            "tokens        \(record.tokens), \(LoadReport.number(tokensPerSecond)) a second",
            "exactly once  \(record.violations == 0 ? "yes" : "NO"): \(record.doubled) doubled, "
                + "\(record.missing) missing, \(record.miscounted) turns miscounted",
            "connections   \(record.dropped) dropped on purpose, \(record.lost.sum) lost",
            "time          \(LoadReport.number(seconds)) s; \(LoadReport.number(processorSeconds)) s of a core for this "
                + "command",
            "",
            LoadReport.row("", ["p50", "p90", "p99", "max", "count"]),
        ]
        for (name, _, histogram) in latencies where histogram.count > 0 {
            let times = [50, 90, 99].map(histogram.percentile) + [histogram.maximum]
            lines.append(LoadReport.row(name, times.map(LoadReport.time) + ["\(histogram.count)"]))
        }
        for (title, reasons) in [("errors", record.errors), ("lost connections", record.lost)] where reasons.sum > 0 {
            lines += ["", title]
            lines += reasons.sorted.map { "  \(LoadReport.padded("\($0.count)", 8))  \($0.reason)" }
        }
        return lines.joined(separator: "\n")
    }

    private static func row(_ name: String, _ cells: [String]) -> String {
        name.padding(toLength: 22, withPad: " ", startingAt: 0) + cells.map { padded($0, 11) }.joined()
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(1, width - text.count)) + text
    }

    private static func number(_ value: Double) -> String { String(format: "%.1f", value) }

    private static func time(_ seconds: Double) -> String {
        seconds < 1 ? String(format: "%.2f ms", seconds * 1000) : String(format: "%.3f s", seconds)
    }
}

extension LoadReport: Encodable {
    private struct Latency: Encodable {
        let count: UInt64
        let mean, p50, p90, p99, max: Double

        init(_ histogram: LatencyHistogram) {
            count = histogram.count
            mean = histogram.mean
            p50 = histogram.percentile(50)
            p90 = histogram.percentile(90)
            p99 = histogram.percentile(99)
            max = histogram.maximum
        }
    }

    private struct Turns: Encodable { let begun, done, failed, cut, not_begun: Int }
    private struct Tokens: Encodable { let count: Int; let per_second: Double }
    private struct ExactlyOnce: Encodable { let violations, doubled, missing, miscounted: Int }
    private struct Connections: Encodable { let dropped: Int; let lost: [String: Int] }

    private enum CodingKeys: String, CodingKey {
        case seconds, processor_seconds, streams, turns, tokens, exactly_once, connections, errors, latency_seconds
    }

    func encode(to encoder: any Encoder) throws {
        var object = encoder.container(keyedBy: CodingKeys.self)
        try object.encode(seconds, forKey: .seconds)
        try object.encode(processorSeconds, forKey: .processor_seconds)
        try object.encode(plan.streams, forKey: .streams)
        try object.encode(
            Turns(
                begun: record.begun, done: record.done, failed: record.errors.sum, cut: record.cut,
                not_begun: record.notBegun), forKey: .turns)
        try object.encode(Tokens(count: record.tokens, per_second: tokensPerSecond), forKey: .tokens)
        try object.encode(
            ExactlyOnce(
                violations: record.violations, doubled: record.doubled, missing: record.missing,
                miscounted: record.miscounted), forKey: .exactly_once)
        try object.encode(
            Connections(dropped: record.dropped, lost: record.lost.counts), forKey: .connections)
        try object.encode(record.errors.counts, forKey: .errors)
        try object.encode(
            Dictionary(uniqueKeysWithValues: latencies.map { ($0.key, Latency($0.histogram)) }),
            forKey: .latency_seconds)
    }

    /// One object on one line; its fields are listed in docs/load.md.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
