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

    @Test(
        arguments: [
            (0.02, Duration.milliseconds(6000)), (2, .seconds(32)), (1e9, .seconds(16 * 3600)), (nil, .seconds(40)),
            (.nan, .seconds(40)), (-1, .seconds(40)),
        ] as [(Double?, Duration)]) func aSlowEngineIsGivenItsTime(step: Double?, patience: Duration)
    {
        #expect(StepWatch.patience(stepSeconds: step, tokenDeadline: .milliseconds(1500)) == patience)
    }
}
