import ChatCore
import Foundation
import Testing

@Suite struct TokenBatchTests {
    private func sample(timeOfTheSecond: Int64? = nil) -> TokenBatch {
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
                    timeToFirstToken: timeOfTheSecond),
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

    private static let fields: Set = [
        "magic", "node", "items", "turn", "epoch", "attempt", "first", "time to first token", "tokens", "token", "end",
        "reason", "length",
    ]

    /// A change is either refused by the name of a field, or read as what the bytes say: writing it gives the same bytes.
    @Test func mutatedBytesAreRefusedByNameOrReadAsTheyStand() throws {
        var random = Counting()
        let bytes = sample(timeOfTheSecond: 1).encoded()
        var refused: [String: Int] = [:], read = 0
        for _ in 0..<4000 {
            var mutated = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                mutated[Int.random(in: 0..<mutated.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            do throws(WireError) {
                let batch = try TokenBatch(decoding: mutated)
                read += 1
                #expect(batch.items.count == 2 && batch.items.allSatisfy { $0.first >= 0 })
                #expect(batch.items.allSatisfy { ($0.timeToFirstToken ?? 0) >= 0 })
                let again = batch.encoded()
                // Every negative time stands for none, and is written as -1.
                if batch.items.allSatisfy({ $0.timeToFirstToken != nil }) { #expect(again == mutated) }
                #expect(again.count == mutated.count)
                #expect(try TokenBatch(decoding: again) == batch)
            } catch {
                refused[error.field, default: 0] += 1
            }
        }
        #expect(read > 500)
        #expect(Set(refused.keys).isSubset(of: Self.fields), "\(refused)")
        for field in ["magic", "node", "turn", "first", "end", "reason"] {
            #expect(refused[field, default: 0] > 0, "\(field): \(refused)")
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
