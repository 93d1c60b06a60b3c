import ChatCore
import Testing

@testable import gateway

@Suite struct EventSequenceTests {
    private let end: TurnEvent = {
        var random = SystemRandomNumberGenerator()
        let id = TurnID(milliseconds: 1, using: &random)
        let key = ConversationKey(owner: UserKey(tenant: "t", user: "u"), id: ConversationID(firstTurn: id))
        let outcome = TurnOutcome(
            turn: id, conversation: key, beginsConversation: true, kind: .stream, status: .done, finishReason: .stop,
            error: nil, system: nil, message: "m", response: "aé", eventEnds: [1, 1, 3],
            usage: .init(promptTokens: 1, completionTokens: 3), model: "m", seed: 1, acceptedAt: 0, firstTokenAt: nil,
            endedAt: 5, attempts: 1)
        return .end(next: 3, TurnEnd(outcome: outcome))
    }()

    private func tokens(_ range: Range<Int>) -> [TurnEvent] { range.map { .token(index: $0, text: "\($0)") } }

    @Test func dropsDoublesAndKeepsOrder() {
        var sequence = EventSequence(next: 0)
        var output: [TurnEvent] = []
        #expect(sequence.admit(tokens(0..<3), into: &output) == .complete)
        #expect(sequence.admit(tokens(1..<5), into: &output) == .complete)
        #expect(output == tokens(0..<5))
    }

    @Test func noticesAGapAndTakesNothingBehindIt() {
        var sequence = EventSequence(next: 0)
        var output: [TurnEvent] = []
        #expect(sequence.admit(tokens(1..<3), into: &output) == .gap)
        #expect(sequence.admit([end], into: &output) == .gap)
        #expect(output.isEmpty)
        #expect(sequence.admit(tokens(0..<3) + [end, end], into: &output) == .complete)
        #expect(output == tokens(0..<3) + [end])
        #expect(sequence.hasEnded)
    }

    @Test func waitingHasNoPlaceInTheOrder() {
        var sequence = EventSequence(next: 0)
        var output: [TurnEvent] = []
        let waiting = TurnEvent.waiting(TurnWait(place: 2, estimate: 900))
        #expect(sequence.admit([waiting] + tokens(0..<1) + [waiting], into: &output) == .complete)
        #expect(sequence.admit(tokens(1..<3) + [end, waiting], into: &output) == .complete)
        #expect(output == [waiting] + tokens(0..<1) + [waiting] + tokens(1..<3) + [end])
    }

    @Test func aReaderThatHasSeenAllStillGetsTheEnd() {
        for claimed in [3, 1000] {
            var sequence = EventSequence(next: claimed)
            var output: [TurnEvent] = []
            #expect(sequence.admit(tokens(0..<3) + [end], into: &output) == .complete)
            #expect(output == [end])
        }
    }

    @Test func aSettledTurnReplaysTheSameEvents() {
        guard case .end(_, let last) = end else { return }
        var text = ""
        ServerSentEvents.append(.token(index: 7, text: "\"\n\u{2028}é"), to: &text)
        #expect(text == "id: 7\ndata: {\"token\":\"\\\"\\n\u{2028}é\",\"done\":false}\n\n")
        #expect(last.duration == 5)
    }
}

@Suite struct SettledTurnTests {
    @Test func textIsCutWhereTheTokensEnded() {
        var random = SystemRandomNumberGenerator()
        let id = TurnID(milliseconds: 1, using: &random)
        let key = ConversationKey(owner: UserKey(tenant: "t", user: "u"), id: ConversationID(firstTurn: id))
        func outcome(_ ends: [Int]) -> TurnOutcome {
            TurnOutcome(
                turn: id, conversation: key, beginsConversation: true, kind: .stream, status: .done,
                finishReason: .stop,
                error: nil, system: nil, message: "m", response: "aé", eventEnds: ends,
                usage: .init(promptTokens: 1, completionTokens: 3), model: "m", seed: 1, acceptedAt: 0,
                firstTokenAt: nil, endedAt: 5, attempts: 1)
        }
        let events = outcome([1, 1, 3]).events(from: 1)
        #expect(events.dropLast() == [.token(index: 1, text: ""), .token(index: 2, text: "é")])
        // Ends that lie (beyond the text, backwards, negative) are cut to the text and never trap.
        for ends in [[9, 100], [3, 1], [-5, 2]] { #expect(outcome(ends).events(from: 0).count == ends.count + 1) }
    }
}
