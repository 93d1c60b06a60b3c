import ChatCore
import Testing

/// A generator whose bits are known, so that an id can be checked digit by digit.
struct Counting: RandomNumberGenerator {
    var value: UInt64 = 0x0123_4567_89AB_CDEF
    mutating func next() -> UInt64 {
        value = value &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return value
    }
}

@Suite struct TurnIDTests {
    @Test func carriesItsTimeVersionAndVariant() {
        var random = Counting()
        let id = TurnID(milliseconds: 1_718_901_234_567, using: &random)
        let text = id.description
        #expect(id.milliseconds == 1_718_901_234_567)
        #expect(text.hasPrefix("0190367f-5b87-7"))
        #expect("89ab".contains(Array(text)[19]))
        #expect(TurnID(text) == id)
        #expect(TurnID(text.uppercased()) == id)
    }

    @Test(arguments: [
        "", "01903645-bb87-7", "01903645-bb87-4000-8000-000000000000", "01903645-bb87-7000-c000-000000000000",
        "01903645xbb87-7000-8000-000000000000", "0190364g-bb87-7000-8000-000000000000",
        "01903645-bb87-7000-8000-0000000000000", "01903645-bb87-7000-8000-00000000000é",
    ])
    func refusesWhatIsNoVersion7UUID(text: String) {
        #expect(TurnID(text) == nil)
    }

    @Test func sortsByTime() {
        var random = Counting()
        let ids = (0..<100).map { TurnID(milliseconds: UInt64(1000 + $0), using: &random) }
        #expect(ids == ids.sorted())
        #expect(ids.map(\.description) == ids.map(\.description).sorted())
    }
}

@Suite struct ConversationTests {
    @Test func idIsDerivedFromTheFirstTurnAndFitsADouble() {
        var random = Counting()
        let turn = TurnID(milliseconds: 1_767_225_600_000, using: &random)
        let id = ConversationID(firstTurn: turn)
        #expect(id == ConversationID(firstTurn: turn))
        #expect(id.value < 1 << 53)
        #expect(Int64(Double(id.value)) == id.value)
        #expect(ConversationID(0) == nil && ConversationID(-1) == nil && ConversationID(1 << 53) == nil)
    }

    /// A program that speaks for many people under one name begins many conversations at the same time.
    @Test func firstTurnsOfOneMillisecondGetNumbersOfTheirOwn() {
        var random = Counting()
        let ids = (0..<20_000).map { _ in
            ConversationID(firstTurn: TurnID(milliseconds: 1_767_225_600_000, using: &random))
        }
        #expect(Set(ids).count == ids.count)
        // All 53 bits are used, each about as often set as not.
        for bit in 0..<53 {
            #expect((9000...11_000).contains(ids.count { $0.value >> Int64(bit) & 1 == 1 }))
        }
    }

    @Test func namesOfDifferentOwnersNeverCollide() {
        #expect(UserKey(tenant: "a", user: "b:c").ringKey != UserKey(tenant: "a:b", user: "c").ringKey)
        #expect(UserKey(tenant: "a", user: "bc").ringKey != UserKey(tenant: "ab", user: "c").ringKey)
    }
}

@Suite struct ExactNameTests {
    /// Canonically equivalent, and of other bytes: é in one scalar and in two, K and the sign for kelvin, a Korean
    /// syllable and its letters.
    static let pairs = [("\u{E9}", "e\u{301}"), ("K", "\u{212A}"), ("\u{AC00}", "\u{1100}\u{1161}")]

    @Test(arguments: pairs) func namesAreComparedAsBytes(one: String, other: String) {
        #expect(one == other)  // that is what Swift's own comparison says
        #expect(ExactName(one) != ExactName(other))
        #expect(Set([ExactName(one), ExactName(other), ExactName(one)]).count == 2)
        #expect((ExactName(one) < ExactName(other)) != (ExactName(other) < ExactName(one)))
    }

    @Test(arguments: pairs) func usersOfSuchNamesAreTwo(one: String, other: String) {
        let users = [
            UserKey(tenant: one, user: "u"), UserKey(tenant: other, user: "u"), UserKey(tenant: "t", user: one),
            UserKey(tenant: "t", user: other),
        ]
        #expect(Set(users).count == 4)
        #expect(users[0] != users[1] && users[2] != users[3])
        #expect(users[0].belongs(to: one) && !users[0].belongs(to: other))
        let turn = TurnID("01903645-bb87-7000-8000-000000000000").map { ConversationID(firstTurn: $0) }
        #expect(Set(users.compactMap { user in turn.map { ConversationKey(owner: user, id: $0) } }).count == 4)
    }

    @Test(arguments: pairs) func estimatesTellTheirTurnsApart(one: String, other: String) {
        let load = OrchestratorLoad(
            id: "o",
            waiting: ByKind(
                repeating: .init([.init(tenant: one, turns: 100, users: 100), .init(tenant: other, turns: 1, users: 1)])
            ),
            running: ByKind(stream: 8, chat: 0, batch: 0), places: 8, serviceSeconds: ByKind(repeating: 1))
        // One turn of its own tenant goes first, and as many rounds of the other's.
        #expect(ClusterLoad([load]).estimate(kind: .stream, tenant: other)?.ahead == 3)
        #expect(ClusterLoad([load]).estimate(kind: .stream, tenant: one)?.ahead == 101)
    }
}

@Suite struct HashRingTests {
    @Test func placementIsForever() {
        // These are promises to data that is already stored: they must never change.
        let ring = HashRing(members: ["shard0", "shard1"])
        let owners = (0..<16).map { ring.member(for: UserKey(tenant: "default", user: "user\($0)").ringKey) }
        #expect(HashRing.hash("switchboard") == 0xDC383E06E055EDCB)
        #expect(owners == [0, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1])
    }

    @Test func loadIsEvenAndGrowthMovesFewUsers() {
        let keys = (0..<20_000).map { "6:tenant:user\($0)" }
        let four = HashRing(members: ["a", "b", "c", "d"])
        let five = HashRing(members: ["a", "b", "c", "d", "e"])
        let counts = Dictionary(grouping: keys) { four.member(for: $0) }.mapValues(\.count)
        #expect(counts.count == 4)
        #expect(counts.values.allSatisfy { (3500...6500).contains($0) })
        let moved = keys.filter { four.member(for: $0) != five.member(for: $0) }
        #expect(moved.allSatisfy { five.member(for: $0) == 4 })
        #expect((2500...5500).contains(moved.count))
    }

    @Test func orderOfMembersDoesNotMatterAndEmptyOwnsNothing() {
        let names = ["a", "b", "c"]
        let ring = HashRing(members: names)
        let turned = HashRing(members: names.reversed())
        #expect(
            (0..<200).allSatisfy {
                names[ring.member(for: "\($0)") ?? 9] == names.reversed()[turned.member(for: "\($0)") ?? 9]
            })
        #expect(HashRing(members: []).member(for: "x") == nil)
    }
}
