import ServiceKit
import Testing

@testable import gateway

@Suite struct AcceptTimingTests {
    @Test func ownIsWhatIsLeftWithoutTheWaits() {
        let timing = AcceptTiming(
            total: .microseconds(12_345),
            waits: .init(
                redis: .microseconds(4_000), database: .zero, broker: .microseconds(7_050), all: .microseconds(9_300)))
        #expect(timing.own == .microseconds(3_045))
        #expect(
            timing.header
                == "total;dur=12.345, own;dur=3.045, redis;dur=4.000, database;dur=0.000, broker;dur=7.050")
    }
}
