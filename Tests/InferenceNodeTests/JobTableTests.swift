import ChatCore
import LlamaEngine
import Testing

@testable import inference_node

@Suite struct JobTableTests {
    private let turn: TurnID = {
        var random = SystemRandomNumberGenerator()
        return TurnID(milliseconds: 1, using: &random)
    }()

    private func job(epoch: Int64 = 1, attempt: Int = 1, orchestrator: String = "o", first: Int = 0) -> GenerationJob {
        GenerationJob(
            turn: turn, epoch: epoch, attempt: attempt, orchestrator: orchestrator, tenant: "t", prompt: [1],
            outputSoFar: Array(repeating: 2, count: first), sampling: .init(maxTokens: 4, seed: 1), kind: .stream,
            deadline: 9)
    }

    private func pending(_ events: [TokenEvent]) -> PendingTokens {
        var pending = PendingTokens()
        pending.add(events)
        return pending
    }

    @Test func aNewerAttemptTakesTheOldOnesPlaceAndAStaleOneIsDropped() {
        var table = JobTable()
        #expect(table.admit(job(epoch: 5, attempt: 2), at: .now) == .run(1, cancelling: nil))
        #expect(table.admit(job(epoch: 5, attempt: 2), at: .now) == .repeated(1))
        #expect(table.admit(job(epoch: 4, attempt: 9), at: .now) == .superseded)
        #expect(table.holds(job(epoch: 5, attempt: 2)) && !table.holds(job(epoch: 5, attempt: 3)))
        #expect(table.admit(job(epoch: 6, attempt: 1), at: .now) == .run(2, cancelling: 1))
        // The old request's end arrives late and must not take the new one's entry with it.
        let late = table.batches(
            of: pending([TokenEvent(request: 1, index: 0, token: TokenEvent.none, finish: .cancelled)]), node: "n",
            at: .now)
        #expect(late["o"]?.items.first?.epoch == 5)
        #expect(table.cancel(NodeControl(cancel: turn, epoch: 6, attempt: 1)) == 2)
    }

    @Test func anOrderCancelsItsAttemptOrOlderOnly() {
        var table = JobTable()
        _ = table.admit(job(epoch: 5, attempt: 2), at: .now)
        #expect(table.cancel(NodeControl(cancel: turn, epoch: 5, attempt: 1)) == nil)
        #expect(table.cancel(NodeControl(cancel: turn, epoch: 5, attempt: 2)) == 1)
    }

    /// The order to cancel may be heard before the job is taken from the queue.
    @Test func aJobThatWasCancelledBeforeItCameIsStale() {
        var table = JobTable()
        #expect(table.cancel(NodeControl(cancel: turn, epoch: 5, attempt: 2)) == nil)
        #expect(table.cancel(NodeControl(cancel: turn, epoch: 4, attempt: 9)) == nil)
        #expect(table.admit(job(epoch: 5, attempt: 2), at: .now) == .stale)
        #expect(table.admit(job(epoch: 5, attempt: 3), at: .now) == .run(1, cancelling: nil))
        var random = SystemRandomNumberGenerator()
        for _ in 0..<JobTable.maximumCancelled {
            let other = TurnID(milliseconds: 2, using: &random)
            #expect(table.cancel(NodeControl(cancel: other, epoch: 1, attempt: 1)) == nil)
        }
        table.remove(1)
        #expect(table.admit(job(epoch: 1, attempt: 1), at: .now) == .run(2, cancelling: nil))  // forgotten by now
    }

    /// Its orchestrator may have lost the first tokens: it is to see the gap, and that the turn is worked on.
    @Test func aRepeatedOrderIsToldHowFarTheTurnIs() throws {
        var table = JobTable()
        _ = table.admit(job(first: 2), at: .now)
        var question = PendingTokens()
        question.ask(after: 1)
        let untouched = table.batches(of: question, node: "n", at: .now)
        #expect(untouched["o"]?.items.map(\.first) == [2])
        #expect(untouched["o"]?.items.first?.timeToFirstToken == nil)
        _ = table.batches(
            of: pending([TokenEvent(request: 1, index: 2, token: 7), TokenEvent(request: 1, index: 3, token: 8)]),
            node: "n", at: .now)
        let item = try #require(table.batches(of: question, node: "n", at: .now)["o"]?.items.first)
        #expect(item.first == 4 && item.tokens.isEmpty && item.end == nil)
    }

    @Test func jobsBeyondTheBoundAreSentAway() {
        var table = JobTable(capacity: 1)
        _ = table.admit(job(), at: .now)
        var random = SystemRandomNumberGenerator()
        let other = GenerationJob(
            turn: TurnID(milliseconds: 3, using: &random), epoch: 1, attempt: 1, orchestrator: "o", tenant: nil,
            prompt: [1], outputSoFar: [], sampling: .init(maxTokens: 4, seed: 1), kind: .stream, deadline: 9)
        #expect(table.admit(other, at: .now) == .full)
        #expect(table.admit(job(attempt: 2), at: .now) == .full)
        table.remove(1)
        #expect(table.admit(other, at: .now) == .run(2, cancelling: nil))
    }

    /// Redis was emptied and its clock set back: epochs begin below those that a node remembers.
    @Test func aCancelledEpochIsForgottenAndUntilThenAnsweredFor() {
        var table = JobTable()
        let start = ContinuousClock.now
        #expect(table.cancel(NodeControl(cancel: turn, epoch: 9, attempt: 1), at: start) == nil)
        #expect(table.admit(job(epoch: 5, attempt: 1), at: start + .seconds(59)) == .superseded)
        #expect(table.admit(job(epoch: 5, attempt: 1), at: start + .seconds(60)) == .run(1, cancelling: nil))
    }

    @Test func jobsPastTheirDeadlineAreFound() {
        var table = JobTable()
        _ = table.admit(job(), at: .now)
        #expect(table.expired(at: 8).isEmpty)
        #expect(table.expired(at: 9) == [1])
    }

    @Test func eventsGoToTheirOrchestratorsAndTheFirstTokenCarriesItsTime() {
        var table = JobTable()
        let start = ContinuousClock.now
        _ = table.admit(job(), at: start)
        let first = table.batches(
            of: pending([TokenEvent(request: 1, index: 0, token: 7)]), node: "n", at: start + .milliseconds(3))
        #expect(
            first["o"]?.items == [
                .init(turn: turn, epoch: 1, attempt: 1, first: 0, tokens: [7], end: nil, timeToFirstToken: 3000)
            ])
        let last = table.batches(
            of: pending([
                TokenEvent(request: 1, index: 1, token: 8, finish: .stop), TokenEvent(request: 9, index: 0, token: 1),
            ]), node: "n", at: start)
        #expect(last["o"]?.items.first?.end == .init(.stop))
        #expect(last["o"]?.items.first?.timeToFirstToken == nil)
        #expect(table.count == 0)
    }

    @Test func tokensOfSomeStepsLeaveAsOneItemForEachTurn() {
        var random = SystemRandomNumberGenerator()
        var table = JobTable()
        _ = table.admit(job(first: 2), at: .now)
        let other = TurnID(milliseconds: 3, using: &random)
        _ = table.admit(
            GenerationJob(
                turn: other, epoch: 1, attempt: 1, orchestrator: "o", tenant: nil, prompt: [1], outputSoFar: [],
                sampling: .init(maxTokens: 4, seed: 1), kind: .stream, deadline: 9), at: .now)
        let batches = table.batches(
            of: pending([
                TokenEvent(request: 1, index: 2, token: 7), TokenEvent(request: 2, index: 0, token: 4),
                TokenEvent(request: 1, index: 3, token: 8), TokenEvent(request: 2, index: 1, token: 5),
                TokenEvent(request: 1, index: 4, token: TokenEvent.none, finish: .failed, reason: "r"),
            ]), node: "n", at: .now)
        let items = batches["o"]?.items ?? []
        #expect(items.map(\.turn) == [turn, other])
        #expect(items.map(\.first) == [2, 0])
        #expect(items.map(\.tokens) == [[7, 8], [4, 5]])
        #expect(items.map(\.end) == [.init(.failed, reason: "r"), nil])
        #expect(items.allSatisfy { $0.timeToFirstToken != nil })
        #expect(table.count == 1)
    }
}

@Suite struct SendPaceTests {
    @Test func onlyTokensInTheMiddleOfATurnWait() {
        let token = TokenEvent(request: 1, index: 5, token: 7)
        #expect(!SendPace.isUrgent([token, token]))
        #expect(SendPace.isUrgent([token, TokenEvent(request: 2, index: 0, token: 7)]))
        #expect(SendPace.isUrgent([token, TokenEvent(request: 2, index: 9, token: 7, finish: .length)]))
    }

    @Test func theMoreTurnsTheLongerTheirTokensWaitForEachOther() {
        #expect(SendPace.pause(jobs: 1) == .zero)
        #expect(SendPace.pause(jobs: 4) < SendPace.pause(jobs: 16))
        #expect(SendPace.pause(jobs: 1_000_000) == SendPace.longestPause)
    }
}
