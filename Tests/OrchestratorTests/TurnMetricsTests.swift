import ChatCore
import Testing

@testable import orchestrator

@Suite struct TurnMetricsTests {
    @Test func labelsAreBoundedWhateverTenantsAreCalled() {
        var names = BoundedNames(capacity: 2)
        #expect(["a", "b", "a", "c", "d", "b"].map { names.name($0) } == ["a", "b", "a", "other", "other", "b"])
    }

    @Test func tenantsAreToldApartByTheirBytes() {
        var names = BoundedNames(capacity: 2)
        let named = ["e\u{301}", "\u{E9}"].map { Array(names.name($0).utf8) }
        #expect(named == [Array("e\u{301}".utf8), Array("\u{E9}".utf8)])
    }

    @Test(arguments: [Int64.min, -1, 0, .max]) func noTimeOfATurnTraps(acceptedAt: Int64) {
        let metrics = TurnMetrics()
        let sample = Turn.sample(number: 1, run: 1)
        let turn = Turn(
            id: sample.id, conversation: sample.conversation, beginsConversation: true, kind: .stream, message: "",
            system: nil, context: [], model: nil, sampling: sample.sampling, acceptedAt: acceptedAt, deadline: .max)
        for now in [Int64.min, 0, .max] {
            metrics.begun(turn, attempts: 0, at: now, after: [])
            metrics.firstToken(of: turn, at: now)
            metrics.ended(
                turn,
                TurnOutcome(
                    turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: .stream,
                    status: .done, finishReason: .stop, error: nil, system: nil, message: "", response: "",
                    eventEnds: [], usage: .init(promptTokens: .max, completionTokens: .max), model: "m", seed: 1,
                    acceptedAt: acceptedAt, firstTokenAt: nil, endedAt: now, attempts: 0))
        }
    }

    @Test(arguments: [
        ("failed: the node ran out of memory at 0x1234", RetryReason.failed), ("given back: full", .givenBack),
        ("the node was lost", .nodeLost), ("the node fell silent", .nodeSilent),
    ]) func aVerdictCountsWithoutItsParticulars(verdict: String, reason: RetryReason) {
        #expect(RetryReason(verdict: verdict) == reason)
    }

    @Test(arguments: [
        "done", "cancelled", "another node was first", "the turn ended", "its orchestrator shut down",
        "its orchestrator could not go on with it",
    ])
    func anEndIsNoRetry(verdict: String) { #expect(RetryReason(verdict: verdict) == nil) }
}
