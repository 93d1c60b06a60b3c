import ServiceKit
import Testing

@Suite struct WaitLedgerTests {
    private let start = ContinuousClock.now
    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }

    @Test func overlappingWaitsCountOnceInAll() {
        let ledger = WaitLedger()
        ledger.begin(.redis, at: at(0))
        ledger.begin(.redis, at: at(2))
        ledger.begin(.broker, at: at(3))
        ledger.end(.redis, at: at(5))
        ledger.end(.redis, at: at(4))
        ledger.end(.broker, at: at(9))
        ledger.begin(.database, at: at(20))
        ledger.end(.database, at: at(21))
        let expected = WaitLedger.Waits(
            redis: .milliseconds(4), database: .milliseconds(1), broker: .milliseconds(6), all: .milliseconds(10))
        #expect(ledger.waits == expected)
    }

    @Test func aWaitThatGoesOnIsNotCountedYet() {
        let ledger = WaitLedger()
        ledger.begin(.broker, at: at(0))
        #expect(ledger.waits == WaitLedger.Waits())
    }

    @Test func childrenOfATaskFillItsLedger() async {
        let ledger = WaitLedger()
        await WaitLedger.$current.withValue(ledger) {
            async let first: Void? = WaitLedger.current?.begin(.redis, at: at(0))
            _ = await first
            await Task { WaitLedger.current?.end(.redis, at: at(7)) }.value
        }
        #expect(ledger.waits.redis == .milliseconds(7))
    }
}
