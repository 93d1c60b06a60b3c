import HTTPTypes
import Hummingbird
import Metrics
import ServiceKit

/// How long accepting a turn took, and what of it was the gateway's own: the whole, less what it waited for.
struct AcceptTiming: Equatable {
    let total: Duration
    let waits: WaitLedger.Waits

    var own: Duration { max(.zero, total - waits.all) }

    private var stages: [(name: String, time: Duration)] {
        [
            ("total", total), ("own", own), ("redis", waits.redis), ("database", waits.database),
            ("broker", waits.broker),
        ]
    }

    func record() {
        for (stage, time) in stages { AcceptTiming.timers[stage]?.recordNanoseconds(Int64(time / .nanoseconds(1))) }
    }

    /// The value of the header Server-Timing (W3C): milliseconds.
    var header: String {
        stages.map { "\($0.name);dur=\(AcceptTiming.milliseconds($0.time))" }.joined(separator: ", ")
    }

    static let headerName = HTTPField.Name("Server-Timing")

    private static let timers: [String: Timer] = Dictionary(
        uniqueKeysWithValues: ["total", "own", "redis", "database", "broker"].map { ($0, Measures.acceptTime($0)) })

    /// With three digits after the point.
    private static func milliseconds(_ time: Duration) -> String {
        let micros = Int(time / .microseconds(1))
        let fraction = String(micros % 1000)
        return "\(micros / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
    }
}
