import Testing

@testable import gateway

@Suite struct DrainPlanTests {
    @Test func everybodyGoesOnceInOrderAndInBoundedSlices() {
        var random = SystemRandomNumberGenerator()
        for count in [0, 1, 19, 20, 21, 400, 10_001] {
            let plan = DrainPlan((0..<UInt64(count)).map { $0 }, using: &random)
            #expect(plan.slices.flatMap { $0.map(\.reader) } == (0..<UInt64(count)).map { $0 })
            #expect(plan.slices.count <= DrainPlan.maximumSlices)
            let sizes = plan.slices.map(\.count)
            #expect((sizes.max() ?? 0) <= (count + DrainPlan.maximumSlices - 1) / DrainPlan.maximumSlices)
            let pauses = plan.slices.flatMap { $0.map(\.pause) }
            #expect(pauses.allSatisfy { $0 >= .zero && $0 <= DrainPlan.longestPause })
            if count >= 400 { #expect(Set(pauses).count > 100, "they do not come back together") }
        }
    }
}
