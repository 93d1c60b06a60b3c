import ChatCore
import Testing

@testable import gateway

@Suite struct TurnFinderTests {
    /// Made at minute 100, where one minute is 60,000 ms; Redis keeps a turn for 75 minutes.
    private func mayBeForgotten(now: Int64, keptSince: Int64) -> Bool {
        var random = SystemRandomNumberGenerator()
        let id = TurnID(milliseconds: 6_000_000, using: &random)
        return TurnFinder.mayBeForgotten(id, now: now * 60_000, keptSince: keptSince * 60_000, horizon: .seconds(4500))
    }

    @Test func onlyWhatIsOlderThanTheMarkAndYoungerThanTheHorizon() {
        // Redis was emptied after the turn was accepted.
        #expect(mayBeForgotten(now: 101, keptSince: 101))
        #expect(mayBeForgotten(now: 174, keptSince: 150))
        // It would have expired by now.
        #expect(!mayBeForgotten(now: 175, keptSince: 150))
        // Redis has kept everything since before: such a turn would be there.
        #expect(!mayBeForgotten(now: 101, keptSince: 99))
        // An id from the future is nobody's.
        #expect(!mayBeForgotten(now: 90, keptSince: 101))
    }

    @Test func hostileIdsDoNotOverflow() throws {
        let latest = try #require(TurnID("ffffffff-ffff-7fff-bfff-ffffffffffff"))
        let earliest = try #require(TurnID("00000000-0000-7000-8000-000000000000"))
        for now: Int64 in [0, 1_800_000_000_000] {
            #expect(!TurnFinder.mayBeForgotten(latest, now: now, keptSince: now, horizon: .seconds(4500)))
        }
        #expect(!TurnFinder.mayBeForgotten(earliest, now: 1_800_000_000_000, keptSince: 0, horizon: .seconds(4500)))
    }
}
