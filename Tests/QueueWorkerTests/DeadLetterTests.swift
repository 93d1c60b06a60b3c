import ChatCore
import Foundation
import RabbitQueue
import Testing

@testable import queue_worker

@Suite struct DeadLetterTests {
    private let id = TurnID("01903645-bb87-7000-8000-000000000000")

    private func turn() throws -> Turn {
        let id = try #require(id)
        return Turn(
            id: id,
            conversation: ConversationKey(owner: UserKey(tenant: "t", user: "u"), id: ConversationID(firstTurn: id)),
            beginsConversation: true, kind: .chat, message: "Hi", system: nil, context: [], model: nil,
            sampling: .init(maxTokens: 1, seed: 1), acceptedAt: 1, deadline: 2)
    }

    private func letter(_ body: some Encodable, id: String? = nil, _ queue: String, _ reason: String) throws
        -> DeadLetter
    {
        DeadLetter(
            body: Array(try JSONEncoder().encode(body)), messageID: id, death: Death(queue: queue, reason: reason))
    }

    @Test(arguments: ["chat_queue", "retry.due", "retry.4s", "dead_letter_queue", ""]) func aTurnIsOneWhereverItDied(
        queue: String
    ) throws {
        let turn = try turn()
        let letter = try letter(turn, queue, "expired")
        #expect(letter.content == .turn(turn) && letter.turn == turn.id && letter.owner == turn.conversation.owner)
        #expect(letter.error == "the turn's deadline has passed" && letter.reason == letter.error)
    }

    @Test func theReasonIsTheConsumersOrTheBrokers() throws {
        let turn = try turn()
        #expect(try letter(turn, "chat_queue", "it brought no token").error == "it brought no token")
        #expect(try letter(turn, "chat_queue", "delivery_limit").error.contains("given back too often"))
        #expect(try letter(turn, "chat_queue", "rejected").error == "the message was rejected")
        let published = DeadLetter(body: [], messageID: nil, death: nil)
        #expect(published.content == .unreadable && published.queue == "dead_letter_queue" && published.messageID == "")
    }

    @Test func whatCannotBeReadIsATurnsOnlyWhereTurnsStand() throws {
        func content(_ body: String, id: String?, _ queue: String) -> DeadLetter.Content {
            DeadLetter(body: Array(body.utf8), messageID: id, death: Death(queue: queue, reason: "rejected")).content
        }
        let id = try #require(id)
        for body in ["", "{", "null", "{\"id\":\"\(id)\"}", "\u{0}", "[[[[[[[["] {
            #expect(content(body, id: "\(id)", "stream_queue") == .unreadableTurn(id))
            #expect(content(body, id: "no id", "stream_queue") == .unreadable)
            #expect(content(body, id: nil, "stream_queue") == .unreadable)
            // The turn of an outcome has ended, and a job's id is no turn's.
            #expect(content(body, id: "\(id)", "response_queue.s0") == .unreadable)
            #expect(content(body, id: "\(id)", "job_queue") == .unreadable)
        }
        var future = try turn()
        future.version = 2
        let letter = try letter(future, id: "\(id)", "chat_queue", "rejected")
        #expect(letter.content == .unreadableTurn(id) && letter.reason.contains("version"))
        #expect(letter.error == "the turn's message cannot be read")
    }

    /// Such a turn is ended by what its record says, not by what its message says.
    @Test(arguments: [Int64.min, .max, -1]) func aTurnOfImpossibleTimesCannotBeRead(time: Int64) throws {
        let id = try #require(id)
        let text = String(decoding: try JSONEncoder().encode(try turn()), as: UTF8.self)
            .replacing(#""acceptedAt":1"#, with: #""acceptedAt":\#(time)"#)
        #expect(text.contains("\(time)"))
        let letter = DeadLetter(
            body: Array(text.utf8), messageID: "\(id)", death: Death(queue: "stream_queue", reason: "rejected"))
        #expect(letter.content == .unreadableTurn(id) && letter.reason.contains("acceptedAt"))
    }

    @Test func anOutcomeIsNoTurnToBeEnded() throws {
        let turn = try turn()
        let outcome = TurnOutcome(
            turn: turn.id, conversation: turn.conversation, beginsConversation: true, kind: .chat, status: .done,
            finishReason: .stop, error: nil, system: nil, message: "Hi", response: "", eventEnds: [],
            usage: .init(promptTokens: 1, completionTokens: 0), model: "m", seed: 1, acceptedAt: 1, firstTokenAt: nil,
            endedAt: 2, attempts: 1)
        let letter = try letter(outcome, "response_queue.s0", "model: too long")
        #expect(letter.content == .outcome(outcome) && letter.turn == turn.id && letter.reason == "model: too long")
    }
}
