import ChatCore
import Foundation
import Testing

@Suite struct TokenBatchTests {
    private func sample() -> TokenBatch {
        var random = Counting()
        let turn = TurnID(milliseconds: 1_767_225_600_000, using: &random)
        return TokenBatch(
            node: "nodé",
            items: [
                .init(
                    turn: turn, epoch: 1 << 50, attempt: 3, first: 0, tokens: [5, -1, 49151], end: nil,
                    timeToFirstToken: 12_345),
                .init(
                    turn: turn, epoch: 7, attempt: 1, first: 99, tokens: [], end: .init(.failed, reason: "why"),
                    timeToFirstToken: nil),
            ])
    }

    @Test func survivesTheWire() throws {
        #expect(try TokenBatch(decoding: sample().encoded()) == sample())
    }

    @Test func everyTruncationIsRefused() {
        let bytes = sample().encoded()
        for count in 0..<bytes.count {
            #expect(throws: WireError.self) { try TokenBatch(decoding: Array(bytes[..<count])) }
        }
        #expect(throws: WireError(field: "length")) { try TokenBatch(decoding: bytes + [0]) }
    }

    @Test func lyingCountsAllocateNothing() {
        // Claims four billion items, then four billion tokens; both end at the end of the bytes.
        var writer = ByteWriter()
        writer.put(UInt8(0xB1))
        writer.put(text: "n")
        writer.put(UInt32.max)
        #expect(throws: WireError(field: "turn")) { try TokenBatch(decoding: writer.bytes) }
    }

    @Test func mutatedBytesNeverCrash() {
        var random = Counting()
        let bytes = sample().encoded()
        for _ in 0..<2000 {
            var mutated = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                mutated[Int.random(in: 0..<mutated.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? TokenBatch(decoding: mutated)
        }
    }
}

@Suite struct TurnCodingTests {
    @Test func aTurnSurvivesTheQueue() throws {
        var random = Counting()
        let id = TurnID(milliseconds: 1_767_225_600_000, using: &random)
        let key = ConversationKey(owner: UserKey(tenant: "t", user: "ü/\u{0}"), id: ConversationID(firstTurn: id))
        let turn = Turn(
            id: id, conversation: key, beginsConversation: true, kind: .stream, message: "Hi \u{1F44B}", system: nil,
            context: [.init(role: .user, content: "x")], model: nil,
            sampling: .init(maxTokens: 5, seed: .max, stop: ["\n"]), acceptedAt: 1, deadline: 2)
        #expect(try JSONDecoder().decode(Turn.self, from: JSONEncoder().encode(turn)) == turn)
    }
}
