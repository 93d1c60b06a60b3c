import ServiceHarness
import Testing

@testable import DrillKit

/// A short drill with a node that needs no model but its tokenizer.
@Suite(.enabled(if: TestModel.isThere, "needs the model that deploy/local/setup fetches: its tokenizer"))
struct DrillTests {
    @Test(.timeLimit(.minutes(5))) func aShortDrillLosesNothing() async throws {
        var options = Drill.Options()
        options.seed = 20
        options.turns = 60
        options.length = .seconds(16)
        options.engine = .simulated(ttft: 20, itl: 15)
        options.tokens = 20...120
        // The broker would take half of the time to start again.
        options.intensity.kinds = Fault.Kind.allCases.filter { $0 != .brokerRestart }
        options.intensity.interval = 0.8
        options.intensity.length = 0.5...3
        let report = try await Drill(options) { _ in }.run()
        #expect(report.violations == [], "\(report.table)\nlogs: \(report.logs ?? "")")
    }
}
