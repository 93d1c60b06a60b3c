import Histogram

/// Times with three significant digits, whatever their number: HDR histogram (Gil Tene) of microseconds.
struct LatencyHistogram: Sendable {
    /// What is longer counts as this.
    static let longest: UInt64 = 3_600_000_000

    private var histogram = Histogram<UInt64>(highestTrackableValue: longest, numberOfSignificantValueDigits: .three)

    var count: UInt64 { histogram.totalCount }

    mutating func record(nanoseconds: Int64) {
        // In range by the bound, so that it is never refused.
        _ = histogram.record(min(UInt64(max(0, nanoseconds)) / 1000, LatencyHistogram.longest))
    }

    mutating func record(_ time: Duration) { record(nanoseconds: Int64(time / .nanoseconds(1))) }

    /// Seconds.
    func percentile(_ percent: Double) -> Double { Double(histogram.valueAtPercentile(percent)) / 1e6 }
    var maximum: Double { count > 0 ? Double(histogram.max) / 1e6 : 0 }
    var mean: Double { count > 0 ? histogram.mean / 1e6 : 0 }
}
