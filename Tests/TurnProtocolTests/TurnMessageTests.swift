import ChatCore
import Foundation
import Testing

@testable import RedisStore
@testable import TurnProtocol

@Suite struct TurnMessageTests {
    private func turn(_ message: String) -> Turn { .sample(message: message, system: "{}") }

    private func decoded(_ message: TurnMessage) throws -> Turn { try Turn(message: message.body) }

    @Test(arguments: [("Hello", 1), (#"}",{"sequence":1}"#, 1), ("é", 100_000)])
    func aPlaceIsWrittenToTheEndOfTheEncodedTurn(text: String, times: Int) async throws {
        let turn = turn(String(repeating: text, count: times))
        let predecessor = self.turn("before").id
        for (sequence, after) in [
            (Int64(1), nil), (ConversationPosition.range.upperBound, predecessor), (Int64.min, predecessor),
        ] as [(Int64, TurnID?)] {
            var message = try await TurnMessage(turn)
            #expect(try decoded(message) == turn)
            message.write(.init(head: predecessor, predecessor: after, sequence: sequence))
            var placed = turn
            (placed.sequence, placed.after) = (sequence, after)
            #expect(try decoded(message) == placed)
        }
    }

    @Test func aPlaceFromBeforeIsNotWrittenTwice() async throws {
        var turn = turn("Hello")
        (turn.sequence, turn.after) = (7, self.turn("before").id)
        var message = try await TurnMessage(turn)
        message.write(.init(head: nil, predecessor: nil, sequence: 8))
        let text = String(decoding: message.body, as: UTF8.self)
        #expect(text.components(separatedBy: "sequence").count == 2 && !text.contains("after"))
        #expect(try decoded(message).sequence == 8)
    }
}
