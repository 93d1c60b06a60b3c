import Testing

@testable import RedisStore

@Suite struct ClockEstimateTests {
    private let start = ContinuousClock.now

    /// The server is asked at `sent` ms and looks at its clock `lag` ms later; its clock is `set` ms ahead of the local one.
    private func ask(_ sent: Int64, lag: Int64, trip: Int64, set: Int64 = 0) -> ClockEstimate {
        ClockEstimate(
            time: (sent + lag + set) * 1000, sent: start + .milliseconds(sent),
            received: start + .milliseconds(sent + trip))
    }

    private func error(_ estimate: ClockEstimate, at milliseconds: Int64) -> Int64 {
        estimate.time(at: start + .milliseconds(milliseconds)) / 1000 - milliseconds
    }

    /// Redis pauses for 1.5 s while it is asked: whoever believes that is 0.7 s off.
    @Test(arguments: [0, 1500] as [Int64]) func aLongTripDoesNotReplaceABetterOne(lag: Int64) {
        let good = ask(0, lag: 1, trip: 2)
        let paused = ask(5000, lag: lag, trip: 1500)
        let best = good.orNewer(paused)
        #expect(best == good && error(best, at: 7000) == 0)
        #expect(abs(error(paused, at: 7000)) == 750)
    }

    @Test func aShortTripReplacesAnOlderOne() {
        let old = ask(0, lag: 1, trip: 2)
        #expect(old.orNewer(ask(5000, lag: 1, trip: 3)) == ask(5000, lag: 1, trip: 3))
        #expect(ask(0, lag: 700, trip: 1500).orNewer(old) == old)
    }

    /// Clocks drift: in the end also a bad measurement is better than one of long ago.
    @Test func anOldOneIsBelievedLessAndLess() {
        let good = ask(0, lag: 1, trip: 2)
        #expect(good.orNewer(ask(10_000, lag: 50, trip: 100)) == good)
        #expect(good.orNewer(ask(120_000, lag: 50, trip: 100)) == ask(120_000, lag: 50, trip: 100))
    }

    /// Both cannot be true: the clock was set, or it is another server's.
    @Test(arguments: [-3_600_000, -800, 800, 3_600_000] as [Int64]) func aClockThatWasSetIsFollowed(step: Int64) {
        let set = ask(5000, lag: 500, trip: 1000, set: step)
        #expect(ask(0, lag: 1, trip: 2).orNewer(set) == set)
    }
}
