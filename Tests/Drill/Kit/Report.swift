import ChatCore
import Foundation

/// What a drill did and what it found.
public struct Report: Sendable {
    public internal(set) var violations: [String] = []
    public private(set) var lost = 0
    /// Where the services' logs are, when they are of interest.
    public internal(set) var logs: String?

    private let options: Drill.Options
    private let plan: TurnPlan
    private let rows: [Row]
    private let records: [TurnRecord]
    private var secondTurns = 0
    private var failedOver = 0
    private var cancelled = 0
    private var finishedFirst = 0

    /// All faults of one kind at one kind of thing.
    struct Row: Sendable {
        let what: String
        var times = 0
        /// Of a stream, while such a fault lasted or within the seconds after it; others may have lasted too.
        var longestPause = Duration.zero
    }

    /// How long after its end a fault may be what a pause comes from.
    private static let aftermath: Duration = .seconds(3)

    init(plan: TurnPlan, options: Drill.Options, injected: [FaultInjector.Injected], records: [Int: TurnRecord]) {
        self.plan = plan
        self.options = options
        self.records = Array(records.values)
        let gaps = records.values.flatMap(\.gaps)
        var rows: [String: Row] = [:]
        for fault in injected {
            let what = fault.fault.summary
            var row = rows[what] ?? Row(what: what)
            row.times += 1
            for gap in gaps where gap.until > fault.from && gap.from < fault.until + Report.aftermath {
                row.longestPause = max(row.longestPause, gap.length)
            }
            rows[what] = row
        }
        self.rows = rows.values.sorted { $0.what < $1.what }
    }

    mutating func take(_ verdict: Verdict) {
        violations += verdict.violations
        (lost, secondTurns, failedOver) = (verdict.lost, verdict.secondTurns, verdict.failedOver)
        (cancelled, finishedFirst) = (verdict.cancelled, verdict.finishedFirst)
    }

    public var table: String {
        var lines = ["| Fault | times | longest pause around it |", "|---|---|---|"]
        lines += rows.map { "| \($0.what) | \($0.times) | \($0.longestPause.inSeconds) |" }
        let kinds = Turn.Kind.allCases.map { kind in "\(plan.turns.filter { $0.kind == kind }.count) \(kind.rawValue)" }
        lines += [
            "", "| | |", "|---|---|",
            "| faults | \(rows.reduce(0) { $0 + $1.times }) in \(options.length.inSeconds) |",
            "| turns | \(plan.turns.count) (\(kinds.joined(separator: ", "))) in \(plan.conversations.count) conversations |",
            "| streams resumed by their clients | \(records.reduce(0) { $0 + $1.resumed }) times |",
            "| requests repeated | \(records.reduce(0) { $0 + $1.repeated }) times, refused for now \(records.reduce(0) { $0 + $1.refused }) |",
            "| turns that went on at another node or orchestrator, or were hedged | \(failedOver) |",
            "| turns cancelled by their clients | \(cancelled), and \(finishedFirst) had ended before |",
            "| streams read once more | \(records.count { $0.planned.isReplayed && $0.isEnded }) |",
            "| chats cancelled with their connection and begun anew | \(secondTurns) |",
            "| lost | \(lost) |",
            "| violations | \(violations.count) |",
            "| seed | \(options.seed) |",
        ]
        return lines.joined(separator: "\n")
    }
}

extension Fault {
    /// Kind and target without the number.
    var summary: String {
        switch target {
        case .service(let name):
            switch kind {
            case .kill: "\(name.kind.rawValue) killed"
            case .stop: "\(name.kind.rawValue) stopped, then woken"
            default: "\(name.kind.rawValue) asked to end"
            }
        case .services(let first, let second):
            "\([first.kind.rawValue, second.kind.rawValue].sorted().joined(separator: " and ")) killed"
        case .link(.clients): "\(kind.rawValue): clients to a gateway"
        case .link(.service(let name, let server)):
            switch server {
            case .shard: "\(kind.rawValue): \(name.kind.rawValue) to a shard"
            default: "\(kind.rawValue): \(name.kind.rawValue) to \(server)"
            }
        default: kind.rawValue
        }
    }
}
