/// What is known of the server's clock: its time at a local instant, give or take half of the round trip in which it was
/// asked, and what the two clocks drift apart since.
struct ClockEstimate: Equatable {
    /// Unix time in µs at the local instant `at`.
    let time: Int64
    let at: ContinuousClock.Instant
    /// µs by which `time` may be wrong.
    let error: Int64

    /// Parts of a million that two clocks may drift apart: ten times what is usual.
    static let drift: Int64 = 500

    /// - Parameter time: what the server said, in a trip between these instants.
    init(time: Int64, sent: ContinuousClock.Instant, received: ContinuousClock.Instant) {
        // The server looked at its clock at some time of the trip.
        let half = sent.duration(to: received) / 2
        self.time = time
        at = sent + half
        error = ClockEstimate.microseconds(half)
    }

    func time(at instant: ContinuousClock.Instant) -> Int64 {
        let (sum, overflow) = time.addingReportingOverflow(ClockEstimate.microseconds(at.duration(to: instant)))
        return overflow ? time : sum
    }

    func error(at instant: ContinuousClock.Instant) -> Int64 {
        let age = max(0, ClockEstimate.microseconds(at.duration(to: instant)))
        return error + age / 1_000_000 * ClockEstimate.drift + age % 1_000_000 * ClockEstimate.drift / 1_000_000
    }

    /// Which of two is believed: the one that can be less wrong. But where both cannot be true, the server's clock was set,
    /// and the newer one is.
    func orNewer(_ newer: ClockEstimate) -> ClockEstimate {
        let error = error(at: newer.at)
        let difference = time(at: newer.at).subtractingReportingOverflow(newer.time)
        guard !difference.overflow, difference.partialValue.magnitude <= UInt64(error + newer.error) else {
            return newer
        }
        return newer.error <= error ? newer : self
    }

    private static func microseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        let (micros, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        return overflow ? (seconds < 0 ? .min : .max) : micros &+ attoseconds / 1_000_000_000_000
    }
}
