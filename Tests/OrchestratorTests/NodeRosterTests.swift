import RedisStore
import Testing

@testable import orchestrator

@Suite struct NodeRosterTests {
    private let start = ContinuousClock.now

    private func node(
        _ id: String = "n", beat: Int64?, stepAge: Int64? = nil, stepSeconds: Double? = 0.05, isDraining: Bool? = nil
    ) -> NodeAnnouncement {
        var node = NodeAnnouncement(
            id: id, model: "m", numericsID: "x", queue: "node.\(id)", contextLength: 100, maximumSequences: 8,
            running: 0, waiting: 0, freeBlocks: 0, totalBlocks: 0, tokensPerSecond: nil, startedAt: 0)
        (node.beat, node.stepAge, node.stepSeconds, node.isDraining) = (beat, stepAge, stepSeconds, isDraining)
        return node
    }

    /// Looks every 200 ms at what `see` shows, and returns when which change came, in ms.
    private func watch(
        _ roster: inout NodeRoster, from first: Int = 0, until last: Int,
        _ see: (Int) -> (nodes: [NodeAnnouncement], listening: Set<String>)
    ) -> [(at: Int, change: NodeRoster.Change)] {
        stride(from: first, through: last, by: 200).flatMap { time in
            let seen = see(time)
            return roster.look(seen.nodes, listening: seen.listening, at: start + .milliseconds(time))
                .map { (time, $0) }
        }
    }

    @Test func aNodeThatBeatsStays() {
        var roster = NodeRoster()
        let changes = watch(&roster, until: 20_000) { ([node(beat: Int64($0 / 300))], ["n"]) }
        #expect(changes.map(\.change) == [.appeared("n")])
        #expect(roster.available.map(\.id) == ["n"])
    }

    /// Its sockets close with it, so nobody listens any more; its announcement stays in Redis for a while.
    @Test func aKilledNodeIsMissedWithinASecond() {
        var roster = NodeRoster()
        let changes = watch(&roster, until: 6000) { time in
            (time < 4800 ? [node(beat: Int64(min(time, 3000) / 300))] : [], time < 3100 ? ["n"] : [])
        }
        #expect(changes.map(\.change) == [.appeared("n"), .lost("n", .died)])
        #expect(changes.last?.at ?? .max <= 4000)
        #expect(roster.available.isEmpty)
    }

    /// SIGSTOP: its sockets stand, only the beats stop. It wakes up as the same node.
    @Test func aStoppedNodeIsMissedWithinTwoSecondsAndComesBack() {
        var roster = NodeRoster()
        let changes = watch(&roster, until: 12_000) { time in
            let beat = time <= 3000 || time > 9000 ? time / 300 : 10
            return (time <= 4800 || time > 9000 ? [node(beat: Int64(beat))] : [], ["n"])
        }
        #expect(changes.map(\.change) == [.appeared("n"), .lost("n", .silent), .appeared("n")])
        #expect(changes.count == 3 && changes[1].at <= 5000 && changes[2].at > 9000)
        #expect(roster.available.count == 1)
    }

    @Test func aCutControlConnectionIsNoDeath() {
        var roster = NodeRoster()
        let changes = watch(&roster, until: 6000) { ([node(beat: Int64($0 / 300))], $0 < 2000 ? ["n"] : []) }
        #expect(changes.map(\.change) == [.appeared("n")])
    }

    @Test func anEngineThatMakesNoStepHangsUntilItMakesOne() {
        var roster = NodeRoster()
        let changes = watch(&roster, until: 9000) { time in
            let age = time < 3000 || time > 7000 ? 40 : time - 3000
            return ([node(beat: Int64(time / 300), stepAge: Int64(age))], ["n"])
        }
        #expect(changes.map(\.change) == [.appeared("n"), .lost("n", .hangs), .appeared("n")])
        #expect(changes.count == 3 && changes[1].at <= 5000 && changes[2].at > 7000)
    }

    /// Steps of a big model, and a first step, may take long.
    @Test func aSlowEngineDoesNotHang() {
        let cases: [(step: Double?, age: Int)] = [(1.5, 5800), (nil, 9000)]
        for slow in cases {
            var roster = NodeRoster()
            let changes = watch(&roster, until: slow.age) { time in
                ([node(beat: Int64(time / 200), stepAge: Int64(time), stepSeconds: slow.step)], ["n"])
            }
            #expect(changes.map(\.change) == [.appeared("n")])
            _ = watch(&roster, from: slow.age + 200, until: slow.age + 2000) { time in
                ([node(beat: Int64(time / 200), stepAge: Int64(time), stepSeconds: slow.step)], ["n"])
            }
            #expect(roster.available.isEmpty)
        }
    }

    /// An emptied Redis shows no node; each is there again with its next beat.
    @Test func aForgottenNodeIsNotLost() {
        var roster = NodeRoster()
        let changes = watch(&roster, until: 6000) { time in
            (2000..<3000).contains(time) ? ([], []) : ([node(beat: Int64(time / 300))], ["n"])
        }
        #expect(changes.map(\.change) == [.appeared("n")])
    }

    /// Nobody looked: Redis was away, or this process stood still. The nodes had no chance to be seen.
    @Test func timeWithoutLooksIsNoSilence() {
        var roster = NodeRoster()
        _ = watch(&roster, until: 2000) { ([node(beat: Int64($0 / 300))], ["n"]) }
        let changes = watch(&roster, from: 12_000, until: 14_000) { time in
            // It reaches Redis again two seconds after us.
            time < 14_000 ? ([], []) : ([node(beat: 99)], ["n"])
        }
        #expect(changes.isEmpty && roster.available.count == 1)
        // One that does not come back is missed after all.
        let end = watch(&roster, from: 14_200, until: 18_000) { _ in ([], []) }
        #expect(end.map(\.change) == [.lost("n", .silent)])
    }

    @Test func aDrainingNodeGetsNothingAndIsGoneWhenItSaysGoodbye() {
        var roster = NodeRoster()
        _ = watch(&roster, until: 1000) { ([node(beat: Int64($0), isDraining: $0 > 500)], ["n"]) }
        #expect(roster.available.isEmpty)
        let changes = watch(&roster, from: 1200, until: 1200) { _ in ([], []) }
        #expect(changes.map(\.change) == [.lost("n", .left)])
    }

    @Test func whatCountsNoBeatsIsBelievedWhileItIsListed() {
        var roster = NodeRoster()
        #expect(watch(&roster, until: 5000) { _ in ([node(beat: nil)], ["n"]) }.count == 1)
        #expect(roster.available.count == 1)
    }
}
