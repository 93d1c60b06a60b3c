import Testing

@testable import orchestrator

@Suite struct TurnMetricsTests {
    @Test func labelsAreBoundedWhateverTenantsAreCalled() {
        var names = BoundedNames(capacity: 2)
        #expect(["a", "b", "a", "c", "d", "b"].map { names.name($0) } == ["a", "b", "a", "other", "other", "b"])
    }

    @Test(arguments: [
        ("failed: the node ran out of memory at 0x1234", RetryReason.failed), ("given back: full", .givenBack),
        ("the node was lost", .nodeLost), ("the node fell silent", .nodeSilent),
    ]) func aVerdictCountsWithoutItsParticulars(verdict: String, reason: RetryReason) {
        #expect(RetryReason(verdict: verdict) == reason)
    }

    @Test(arguments: ["done", "cancelled", "another node was first", "the turn ended", "its orchestrator shut down"])
    func anEndIsNoRetry(verdict: String) { #expect(RetryReason(verdict: verdict) == nil) }
}
