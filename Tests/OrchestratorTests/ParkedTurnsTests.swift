import ChatCore
import SeededRandom
import Testing

@testable import orchestrator

@Suite struct ParkedTurnsTests {
    private let now = ContinuousClock.now

    private func turns(_ count: Int, bytes: Int = 10) -> [Turn] {
        var random = SeededGenerator(seed: 1)
        return (0..<count).map { _ in
            let id = TurnID(milliseconds: 1_767_225_600_000, using: &random)
            return Turn(
                id: id,
                conversation: ConversationKey(
                    owner: UserKey(tenant: "t", user: "u"), id: ConversationID(firstTurn: id)),
                beginsConversation: true, kind: .batch, message: String(repeating: "a", count: bytes), system: nil,
                context: [], model: nil, sampling: .init(maxTokens: 1, seed: 1), acceptedAt: 0, deadline: 1)
        }
    }

    @Test func whatIsDueFirstMakesRoomInBytesAndInNumber() {
        var parked = ParkedTurns(maximumCount: 100, maximumBytes: 4 << 20)
        let large = turns(8, bytes: 1 << 20)
        for (index, turn) in large.enumerated() { parked.add(turn, until: now + .seconds(10 + index), at: now) }
        #expect(parked.count == 3 && parked.bytes <= 4 << 20)
        #expect(parked.remove(large[4].id) == nil)
        #expect(parked.remove(large[7].id)?.id == large[7].id)
        let small = turns(300)
        for turn in small { parked.add(turn, until: now + .seconds(1), at: now) }
        #expect(parked.count == 100)
        for turn in large + small { _ = parked.remove(turn.id) }
        #expect(parked.count == 0 && parked.bytes == 0)
    }

    /// Another orchestrator has taken it by then.
    @Test func whatWasDueLongAgoIsForgotten() {
        var parked = ParkedTurns(maximumCount: 100, maximumBytes: 1 << 20)
        let turns = turns(3)
        parked.add(turns[0], until: now + .seconds(1), at: now)
        parked.add(turns[1], until: now + .seconds(60), at: now)
        parked.add(turns[2], until: now + .seconds(90), at: now + .seconds(2))
        #expect(parked.remove(turns[0].id) == nil)
        #expect(parked.count == 2)
    }

    @Test func theSameTurnTwiceCountsOnceAndATooLargeOneNot() {
        var parked = ParkedTurns(maximumCount: 100, maximumBytes: 1 << 20)
        let turn = turns(1)[0]
        parked.add(turn, until: now + .seconds(1), at: now)
        parked.add(turn, until: now + .seconds(2), at: now)
        #expect(parked.count == 1 && parked.bytes == turn.wireBytes)
        parked.add(turns(1, bytes: 2 << 20)[0], until: now + .seconds(1), at: now)
        #expect(parked.bytes <= 1 << 20)
    }
}
