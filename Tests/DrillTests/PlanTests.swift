import ChatCore
import Testing

@testable import DrillKit

@Suite struct PlanTests {
    private func plan(_ seed: UInt64) -> TurnPlan {
        TurnPlan(turns: 300, span: .seconds(100), tokens: 4...50, seed: seed)
    }

    @Test func theSameSeedIsTheSameDrill() {
        #expect(plan(7) == plan(7) && plan(7) != plan(8))
        let intensity = FaultSchedule.Intensity()
        #expect(
            FaultSchedule(span: .seconds(300), intensity: intensity, seed: 7)
                == FaultSchedule(span: .seconds(300), intensity: intensity, seed: 7))
    }

    @Test func turnsAreOfEveryKindAndRecognisable() {
        let turns = plan(3).turns
        #expect(turns.map(\.index) == Array(0..<300))
        #expect(Set(turns.map(\.message)).count == 300)
        #expect(Set(turns.map(\.kind)) == Set(Turn.Kind.allCases))
        #expect(turns.contains(where: \.isEager) && turns.allSatisfy { (4...50).contains($0.maxTokens) })
        // What a cut-off chat had said is history of what follows: nothing may follow.
        #expect(
            plan(3).conversations.allSatisfy { conversation in
                conversation.turns.dropLast().allSatisfy { $0.kind != .chat && $0.cancelledAfter == nil }
            })
        #expect(turns.contains { $0.cancelledAfter != nil } && turns.contains(where: \.isReplayed))
        #expect(turns.allSatisfy { $0.kind == .stream || $0.cancelledAfter == nil && !$0.isReplayed })
    }

    @Test(arguments: 1...20) func everyKindOfFaultHasItsTurnAndNoTargetTwoAtATime(seed: UInt64) {
        let span = Duration.seconds(300)
        let faults = FaultSchedule(span: span, intensity: .init(), seed: seed).faults
        #expect(Set(faults.map(\.kind)) == Set(Fault.Kind.allCases))
        #expect(faults.allSatisfy { $0.at >= .zero && $0.at < span && $0.length <= .seconds(10) })
        let parts = faults.flatMap { fault in fault.target.parts.map { (part: $0, fault: fault) } }
        for (_, own) in Dictionary(grouping: parts, by: \.part) {
            for (first, second) in zip(own, own.dropFirst()) {
                #expect(first.fault.at + first.fault.length < second.fault.at)
            }
        }
        for (kind, bound) in [(Fault.Kind.redisClock, 4.0), (.serviceClock, 4000)] {
            #expect(faults.allSatisfy { $0.kind != kind || $0.step != .zero && abs($0.step / .seconds(1)) <= bound })
        }
    }
}
