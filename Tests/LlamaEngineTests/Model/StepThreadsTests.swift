import Testing

@testable import LlamaEngine

/// The choice of threads, against machines whose step times are given.
@Suite struct StepThreadsTests {
    /// Runs steps and returns how often each number of threads was taken.
    private func run(
        _ choice: inout StepThreads, rows: Int = 1, steps: Int, time: (_ threads: Int, _ step: Int) -> Double
    ) -> [Int: Int] {
        var counts: [Int: Int] = [:]
        for step in 0..<steps {
            let threads = choice.threads(rows: rows)
            counts[threads, default: 0] += 1
            choice.record(rows: rows, nanoseconds: time(threads, step))
        }
        return counts
    }

    @Test(arguments: [1, 2, 3, 8, 16]) func theFasterNumberIsFoundAndKept(_ rows: Int) {
        var choice = StepThreads(threads: 2)
        let more = run(&choice, rows: rows, steps: 4000) { threads, _ in threads == 2 ? 2e6 : 2.6e6 }
        #expect(more[2, default: 0] > 3850)
        choice = StepThreads(threads: 2)
        let fewer = run(&choice, rows: rows, steps: 4000) { threads, _ in threads == 2 ? 4e6 : 2.6e6 }
        #expect(fewer[1, default: 0] > 3850)
    }

    @Test func aNeighbourThatComesAndGoesIsNoticed() {
        var choice = StepThreads(threads: 2)
        _ = run(&choice, steps: 2000) { threads, _ in threads == 2 ? 2e6 : 2.6e6 }
        // Two threads now meet a preempted one in every second step.
        let beside = run(&choice, steps: 1000) { threads, step in threads == 2 ? (step % 2 == 0 ? 2e6 : 9e6) : 2.7e6 }
        #expect(beside[1, default: 0] > 850)
        let after = run(&choice, steps: 1000) { threads, _ in threads == 2 ? 2e6 : 2.6e6 }
        #expect(after[2, default: 0] > 650)
    }

    @Test func singleSlowStepsDecideNothing() {
        var choice = StepThreads(threads: 2)
        let counts = run(&choice, steps: 4000) { threads, step in
            step % 97 == 0 ? 40e6 : threads == 2 ? 2e6 : 2.6e6
        }
        #expect(counts[2, default: 0] > 3400)
    }

    @Test func everyNumberOfThreadsIsReached() {
        for best in [1, 2, 4, 8, 12] {
            var choice = StepThreads(threads: 12)
            let counts = run(&choice, steps: 4000) { threads, _ in
                1e6 * Double(max(threads, best)) / Double(min(threads, best))
            }
            #expect(counts[best, default: 0] > 3500, "\(best)")
        }
    }

    @Test func wideStepsTakeAllAndOneThreadIsOne() {
        #expect(StepThreads(threads: 6).threads(rows: 17) == 6)
        var one = StepThreads(threads: 1)
        #expect(run(&one, steps: 100) { _, _ in 1 } == [1: 100])
    }
}
