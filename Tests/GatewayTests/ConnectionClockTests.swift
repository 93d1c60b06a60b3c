import Testing

@testable import gateway

@Suite struct ConnectionClockTests {
    private let start = ContinuousClock.now
    private let limits = ConnectionClock.Limits(
        idle: .seconds(60), bodyGrace: .seconds(20), leastBodyRate: 1000, body: .seconds(120), closing: .seconds(5))

    private func clock() -> ConnectionClock { ConnectionClock(limits, at: start) }

    private func left(_ clock: ConnectionClock) -> Duration? { clock.deadline.map { $0 - start } }

    @Test func aRequestHasToBeginAndTheAnswerMayTakeItsTime() {
        var clock = clock()
        #expect(left(clock) == .seconds(60))
        clock.enter(.answering, at: start + .seconds(10))
        #expect(left(clock) == nil)
        clock.enter(.idle, at: start + .seconds(100))
        #expect(left(clock) == .seconds(160))
    }

    @Test func aBodyComesAtALeastRateAndNotForEver() {
        var clock = clock()
        clock.enter(.body, at: start)
        #expect(left(clock) == .seconds(20))
        // A byte now and then earns nothing.
        for second in 1..<20 { clock.received(1, at: start + .seconds(second)) }
        #expect(left(clock) == .seconds(20))
        // What comes at twice the rate may go on, to the absolute end.
        clock.received(40_000, at: start + .seconds(20))
        #expect(left(clock) == .seconds(60))
        clock.received(1_000_000, at: start + .seconds(119))
        #expect(left(clock) == .seconds(120))
    }

    @Test func aBodyThatStopsIsGivenUp() {
        var clock = clock()
        clock.enter(.body, at: start)
        clock.received(1_000_000, at: start + .seconds(2))
        #expect(left(clock) == .seconds(62))
    }

    @Test func whoTakesNothingIsNotWaitedFor() {
        var clock = clock()
        clock.enter(.answering, at: start)
        clock.setWritable(false, at: start + .seconds(5))
        clock.setWritable(false, at: start + .seconds(30))
        #expect(left(clock) == .seconds(65))
        clock.setWritable(true, at: start + .seconds(31))
        #expect(left(clock) == nil)
    }

    @Test func aDrainIsNotHeldUp() {
        var stalled = clock()
        stalled.enter(.answering, at: start)
        stalled.setWritable(false, at: start + .seconds(1))
        stalled.drain(at: start + .seconds(10))
        #expect(left(stalled) == .seconds(15))
        var sending = clock()
        sending.enter(.body, at: start)
        sending.drain(at: start + .seconds(3))
        #expect(left(sending) == .seconds(8))
        var answering = clock()
        answering.enter(.answering, at: start)
        answering.drain(at: start + .seconds(3))
        #expect(left(answering) == nil)
    }
}
