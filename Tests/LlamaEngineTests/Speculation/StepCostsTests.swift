import Testing

@testable import LlamaEngine

@Suite struct StepCostsTests {
    @Test func rowCountsFallIntoAscendingClasses() {
        var last = -1
        for rows in 1...5000 {
            let index = StepCosts.index(rows)
            #expect(index == last || index == last + 1)
            #expect(StepCosts.index(StepCosts.lowestRows(index)) == index)
            #expect(StepCosts.lowestRows(index) <= rows && rows < StepCosts.lowestRows(index + 1))
            last = index
        }
    }

    @Test func unmeasuredCountsAreTakenAtTheirBest() throws {
        var costs = StepCosts()
        #expect(costs.seconds(rows: 3) == nil)
        costs.record(rows: 4, seconds: 2)
        #expect(costs.seconds(rows: 4) == 2)
        #expect(costs.seconds(rows: 9) == 2)
        #expect(costs.seconds(rows: 1) == 0.5)
        costs.record(rows: 8, seconds: 4)
        #expect(costs.seconds(rows: 6) == 3)
        #expect(costs.seconds(rows: 5) == 2.5)
        #expect(costs.seconds(rows: 200) == 4)
    }

    @Test func measurementsAreSmoothedAndOnesThatNobodyConfirmsForgotten() throws {
        var costs = StepCosts()
        for _ in 0..<50 { costs.record(rows: 1, seconds: 1) }
        costs.record(rows: 1, seconds: 1000)
        #expect(try #require(costs.seconds(rows: 1)) < 1.2)
        for _ in 0..<100 { costs.record(rows: 1, seconds: 3) }
        #expect(abs(try #require(costs.seconds(rows: 1)) - 3) < 0.01)
        costs.record(rows: 8, seconds: 12)
        #expect(costs.seconds(rows: 8) == 12)
        for _ in 0...StepCosts.memory { costs.record(rows: 1, seconds: 3) }
        #expect(try #require(costs.seconds(rows: 8)) < 3.01)
        costs.record(rows: 0, seconds: 1)
        costs.record(rows: 1, seconds: .nan)
        costs.record(rows: 1, seconds: -1)
        #expect(abs(try #require(costs.seconds(rows: 1)) - 3) < 0.01)
    }

    @Test func acceptanceFollowsTheRecentGuesses() {
        var rate = AcceptanceRate(expectation: 0.5, weight: 4, memory: 20)
        #expect(rate.rate == 0.5)
        for _ in 0..<100 { rate.record(isRight: true) }
        #expect(rate.rate > 0.97)
        for _ in 0..<60 { rate.record(isRight: false) }
        #expect(rate.rate < 0.06)
        for guess in 0..<200 { rate.record(isRight: guess % 4 != 0) }
        #expect(abs(rate.rate - 0.75) < 0.1)
    }
}
