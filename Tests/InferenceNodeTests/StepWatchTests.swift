import Testing

@testable import inference_node

@Suite struct StepWatchTests {
    private let start = ContinuousClock.now

    @Test func ageCountsFromTheLastStepAndOnlyWithWork() {
        var watch = StepWatch()
        func age(_ steps: UInt64, _ hasWork: Bool, _ milliseconds: Int) -> Duration? {
            watch.age(steps: steps, hasWork: hasWork, at: start + .milliseconds(milliseconds))
        }
        #expect(age(0, false, 0) == nil)
        #expect(age(0, true, 5000) == .zero)  // idle before: the work has only come
        #expect(age(0, true, 5300) == .milliseconds(300))
        #expect(age(1, true, 5600) == .zero)
        #expect(age(1, true, 6900) == .milliseconds(1300))
        #expect(age(1, false, 7000) == nil)
        #expect(age(1, true, 7300) == .zero)
    }
}
