import ChatCore
import Hummingbird
import ServiceKit
import Testing

@testable import gateway

@Suite struct ServerSentEventsTests {
    private func text(_ event: TurnEvent) -> String {
        var text = ""
        ServerSentEvents.append(event, to: &text)
        return text
    }

    @Test func aWaitingTurnIsToldItsPlaceWithoutAnId() {
        #expect(
            text(.waiting(TurnWait(place: 3, estimate: 1250)))
                == "event: queue\ndata: {\"done\":false,\"place\":3,\"estimated_seconds\":1.25}\n\n")
        #expect(
            text(.waiting(TurnWait(place: 1, estimate: nil)))
                == "event: queue\ndata: {\"done\":false,\"place\":1}\n\n")
    }

    @Test func whatWasTakenAwayStandsInTheEnd() throws {
        var outcome = try outcome()
        #expect(!text(.end(next: 1, TurnEnd(outcome: outcome))).contains("degradation"))
        outcome.degradation = .init(
            contextTokens: 512, requestedMaxTokens: 256, requestedModel: "large", answerOf: outcome.turn)
        let end = text(.end(next: 1, TurnEnd(outcome: outcome)))
        #expect(
            end.contains(
                #""degradation":{"steps":["cached_answer","shorter_context","fewer_tokens","lighter_model"],"#
                    + #""context_tokens":512,"requested_max_tokens":256,"requested_model":"large"}"#))
        // Whose answer it was is the business of whoever asked first.
        #expect(!end.contains("\(outcome.turn)"))
    }

    @Test func numbersThatLieMakeAnEndAllTheSame() throws {
        let known = try outcome()
        let outcome = TurnOutcome(
            turn: known.turn, conversation: known.conversation, beginsConversation: true, kind: .stream, status: .done,
            finishReason: .stop, error: nil, system: nil, message: "", response: "", eventEnds: [.max, .min, -1],
            usage: .init(promptTokens: .max, completionTokens: .max), model: "m", seed: 1, acceptedAt: .min,
            firstTokenAt: nil, endedAt: .max, attempts: .max)
        for event in outcome.events(from: 0) { #expect(!text(event).isEmpty) }
    }

    @Test func aFailureIsToldByItsCode() async throws {
        var outcome = try outcome(error: "the node is gone")
        #expect(
            text(.end(next: 1, TurnEnd(outcome: outcome)))
                .contains(#""error":{"code":"turn_failed","message":"the node is gone"}"#))
        outcome = try self.outcome(error: TurnFailure(.contextLengthExceeded, "9 tokens; 8").text)
        let end = TurnEnd(outcome: outcome)
        #expect(
            text(.end(next: 1, end)).contains(#""error":{"code":"context_length_exceeded","message":"9 tokens; 8"}"#))
        // A whole answer is a client's mistake then, and no 502, which clients repeat.
        let turn = outcome.turn
        let refusal = await #expect(throws: APIError.self) {
            _ = try await Response.answer("", end, time: .zero, turn: turn, on: WorkPool.shared)
        }
        #expect(refusal?.status == .badRequest && refusal?.code == "context_length_exceeded")
        #expect(refusal?.message == "9 tokens; 8")
    }

    private func outcome(error: String? = nil) throws -> TurnOutcome {
        var random = SystemRandomNumberGenerator()
        let id = TurnID(milliseconds: 1_767_225_600_000, using: &random)
        return TurnOutcome(
            turn: id, conversation: .init(owner: .init(tenant: "t", user: "u"), id: .init(firstTurn: id)),
            beginsConversation: true, kind: .stream, status: error == nil ? .done : .failed,
            finishReason: error == nil ? .stop : .error, error: error, system: nil, message: "Hello", response: "Hi",
            eventEnds: [2], usage: .init(promptTokens: 3, completionTokens: 1), model: "m", seed: 1, acceptedAt: 0,
            firstTokenAt: nil, endedAt: 5, attempts: 1)
    }
}
