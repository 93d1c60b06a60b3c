import Testing

@testable import DrillKit

@Suite struct FlowTests {
    @Test func bytesPassInOrderAndNotBeforeTheirTime() {
        var flow = Flow()
        flow.take([1, 2], at: 0, weather: .slow(delay: .milliseconds(5), bytesPerSecond: 1_000_000))
        // In clear weather again, but behind what is still under way.
        flow.take([3], at: 1, weather: .clear)
        var out: [UInt8] = []
        flow.pass(at: 4_999_999) {
            out += $0; return $0.count
        }
        #expect(out.isEmpty && flow.nextDue == 5_000_000)
        // The receiver takes a byte at a time.
        flow.pass(at: 5_000_000) {
            out += $0.prefix(1); return 1
        }
        #expect(out == [1] && flow.count == 2)
        flow.pass(at: 5_000_000) {
            out += $0; return $0.count
        }
        #expect(out == [1, 2, 3] && flow.isEmpty && flow.nextDue == nil)
    }

    @Test func aSlowLinkHasItsRate() {
        var flow = Flow()
        for _ in 0..<10 {
            flow.take([UInt8](repeating: 7, count: 1000), at: 0, weather: .slow(delay: .zero, bytesPerSecond: 10_000))
        }
        var passed = 0
        flow.pass(at: 500_000_000) {
            passed += $0.count; return $0.count
        }
        #expect(passed == 5000)
    }

    @Test func whatIsUnderWayIsBounded() {
        var flow = Flow()
        while flow.mayRead { flow.take([UInt8](repeating: 0, count: 64 << 10), at: 0, weather: .clear) }
        #expect(flow.count <= Flow.capacity + 64 << 10)
        flow.pass(at: 1) { $0.count }
        #expect(flow.mayRead)
        flow.end()
        #expect(!flow.mayRead)
    }
}
