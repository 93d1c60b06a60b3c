import ServiceKit
import Testing

@Suite struct ThrottleTests {
    @Test func oneInAnInterval() {
        let throttle = Throttle(.seconds(1))
        let start = ContinuousClock.now
        #expect(throttle.take(at: start))
        #expect(!throttle.take(at: start + .milliseconds(999)))
        #expect(throttle.take(at: start + .seconds(1)))
        #expect(!throttle.take(at: start + .milliseconds(1_500)))
    }
}
