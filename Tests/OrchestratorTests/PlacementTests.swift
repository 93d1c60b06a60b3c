import ChatCore
import RedisStore
import SeededRandom
import Testing

@testable import orchestrator

@Suite struct PlacementTests {
    private let heavy = UserKey(tenant: "a", user: "heavy")

    /// One user has hundreds of turns waiting; another's single one waits no longer than one turn takes, wherever the
    /// hundreds are and whenever it comes.
    @Test(arguments: [(1, 1), (2, 1), (2, 2), (3, 2), (5, 1)], [false, true])
    func aLoneTurnIsDelayedByOneSlot(size: (orchestrators: Int, nodes: Int), lopsided: Bool) throws {
        for seed in 1...3 as ClosedRange<UInt64> {
            var random = SeededGenerator(seed: seed)
            var simulation = PlacementSimulation(
                orchestrators: size.orchestrators, nodes: size.nodes, places: 16, service: 500...1500, seed: seed)
            for index in 0..<size.nodes * 200 {
                _ = simulation.arrive(heavy, .stream, at: lopsided ? 0 : index % size.orchestrators)
            }
            for tenant in ["a", "b"] {
                let time = simulation.now + Int.random(in: 200...4000, using: &random)
                simulation.run { $0.now >= time }
                let orchestrator = Int.random(in: 0..<size.orchestrators, using: &random)
                let lone = simulation.arrive(UserKey(tenant: tenant, user: "lone"), .stream, at: orchestrator)
                simulation.run { $0.runs[lone].started != nil }
                let run = simulation.runs[lone]
                let delay = (run.started ?? .max) - run.arrived
                // The longest turn, and the time after which an orchestrator knows of a place that another gave up.
                #expect(delay <= 1500 + 400, "seed \(seed), tenant \(tenant): \(delay) ms")
                let overtaken = simulation.runs.count { other in
                    other.owner == heavy && (other.started.map { $0 > run.arrived && $0 < run.started ?? 0 } ?? false)
                }
                #expect(overtaken <= 16 * size.nodes, "seed \(seed): \(overtaken) turns went first")
            }
            // A node's own queue is not fair: next to nothing may wait in it.
            #expect(simulation.longestNodeQueue <= 16 / 4 + size.orchestrators, "seed \(seed)")
        }
    }

    /// Places stand empty for no longer than it takes to say that they do, though all turns are at one orchestrator.
    @Test func unusedSharesAreLent() {
        for lopsided in [false, true] {
            var simulation = PlacementSimulation(
                orchestrators: 2, nodes: 2, places: 8, service: 500...1500, seed: 9)
            for index in 0..<400 { _ = simulation.arrive(heavy, .stream, at: lopsided ? 0 : index % 2) }
            simulation.run { $0.unended == 0 }
            #expect(Double(simulation.busy) / Double(simulation.wanted) > 0.97)
        }
    }

    /// Batch turns fill what nobody else wants, leave room for whoever comes, and run in the end all the same.
    @Test func batchTakesFreeCapacityOnly() throws {
        var simulation = PlacementSimulation(
            orchestrators: 2, nodes: 1, places: 8, service: 500...1500,
            patience: ByKind(stream: nil, chat: .seconds(10), batch: .seconds(30)), seed: 3)
        for index in 0..<100 { _ = simulation.arrive(heavy, .batch, at: index % 2) }
        simulation.run { $0.now >= 5000 }
        let running = simulation.runs.count { $0.started != nil && $0.ended == nil }
        #expect(running >= 6 && running <= 7)
        // A stream finds a place that is free.
        let stream = simulation.arrive(UserKey(tenant: "b", user: "x"), .stream, at: 1)
        simulation.tick()
        #expect(simulation.runs[stream].started != nil)
        // More streams than there are places, for a minute: batch waits, but not for ever.
        let start = simulation.now
        while simulation.now < start + 60_000 {
            if simulation.now % 100 == 0 {
                _ = simulation.arrive(UserKey(tenant: "b", user: "x"), .stream, at: simulation.now / 100 % 2)
            }
            simulation.tick()
        }
        let begun = simulation.runs.filter { $0.kind == .batch && ($0.started ?? 0) > start + 3000 }.compactMap(
            \.started)
        #expect(begun.allSatisfy { $0 > 40_000 }, "batch ran while streams waited")
        #expect(!begun.isEmpty, "batch starved")
    }

    /// What a waiting turn is told, and what is estimated for a new one, is about what happens.
    @Test func estimatesAreNearTheTruth() throws {
        for seed in 1...5 as ClosedRange<UInt64> {
            var simulation = PlacementSimulation(
                orchestrators: 2, nodes: 2, places: 4, service: 800...1200, seed: seed)
            for index in 0..<200 {
                _ = simulation.arrive(UserKey(tenant: "t\(index % 5)", user: "u\(index % 20)"), .stream, at: index % 2)
            }
            simulation.run { $0.now >= 5000 }
            let estimate = try #require(simulation.cluster.estimate(kind: .stream, tenant: "t0", own: 100))
            let told = simulation.waits
            let moment = simulation.now
            simulation.run { $0.unended == 0 }
            // Eight places of a second: the last of all waits for all those before it.
            let last = simulation.runs.compactMap(\.started).max() ?? 0
            #expect(abs(Double(last - moment) / 1000 - estimate.seconds) < 0.25 * estimate.seconds + 1)
            var errors: [Double] = []
            for (turn, wait) in told.flatMap({ $0 }) {
                let run = try #require(simulation.runs.first { $0.turn == turn })
                errors.append(abs(Double((run.started ?? 0) - moment - Int(wait.estimate ?? 0))) / 1000)
            }
            #expect(errors.count > 100)
            #expect(errors.reduce(0, +) / Double(errors.count) < 1.5, "seed \(seed)")
        }
    }

    @Test func aTurnGetsANodeOfItsModelAndNumericsOnly() {
        func node(_ id: String, _ model: String, _ numerics: String) -> NodeAnnouncement {
            NodeAnnouncement(
                id: id, model: model, numericsID: numerics, queue: id, contextLength: 1, maximumSequences: 2,
                running: 0, waiting: 0, freeBlocks: 0, totalBlocks: 0, tokensPerSecond: nil, startedAt: 0)
        }
        var placement = Placement(name: "o")
        placement.nodes = [node("a", "big", "x"), node("b", "small", "x"), node("c", "big", "y")]
        var random = SeededGenerator(seed: 1)
        func waiter(_ model: String?, _ numerics: String?) -> Placement.Waiter {
            .init(
                id: random.next(), turn: TurnID(milliseconds: 1, using: &random), kind: .stream, owner: heavy,
                model: model, numericsID: numerics)
        }
        func free(_ waiter: Placement.Waiter, besides other: String? = nil) -> String? {
            placement.takeFree(waiter, besides: other, at: .now)?.node.id
        }
        #expect(free(waiter("small", nil)) == "b")
        #expect(free(waiter("big", "y")) == "c")
        #expect(free(waiter("big", "y"), besides: "c") == nil)
        #expect(free(waiter("big", nil), besides: "c") == "a")
        #expect(free(waiter("other", nil)) == nil)
        placement.avoid("b", until: .now + .seconds(60))
        #expect(free(waiter("small", nil)) == nil)
    }

    private func node(_ id: String, _ numerics: String = "x", context: Int = 8192, blocks: Int) -> NodeAnnouncement {
        NodeAnnouncement(
            id: id, model: "m", numericsID: numerics, queue: id, contextLength: context, maximumSequences: 2,
            running: 0, waiting: 0, freeBlocks: 0, totalBlocks: blocks, tokensPerSecond: nil, startedAt: 0)
    }

    private func waiter(_ id: UInt64, numerics: String?, tokens: Int, shortest: Int? = nil) -> Placement.Waiter {
        var random = SeededGenerator(seed: id)
        return .init(
            id: id, turn: TurnID(milliseconds: 1, using: &random), kind: .stream, owner: heavy, model: nil,
            numericsID: numerics, tokens: tokens, shortest: shortest)
    }

    @Test func aTurnGoesOnlyToANodeThatCanHoldIt() {
        var placement = Placement(name: "o")
        placement.nodes = [node("small", blocks: 64)]
        placement.wait(waiter(1, numerics: "x", tokens: 1025), at: .now)
        placement.wait(waiter(2, numerics: "x", tokens: 1024), at: .now)
        #expect(placement.admit(at: .now).map(\.waiter.id) == [2])
        // A plan that stands is not made anew: it waits for the node that can hold it.
        #expect(placement.removeMisfits().isEmpty)
        placement.nodes.append(node("roomy", blocks: 65))
        #expect(placement.admit(at: .now).map(\.node.id) == ["roomy"])
        #expect(placement.takeFree(waiter(3, numerics: "x", tokens: 1025), besides: "roomy", at: .now) == nil)
    }

    /// Planned while no node was known, or other ones.
    @Test func aPlanThatNoLivingNodeCanHoldIsMadeAnewIfThatHelps() {
        var placement = Placement(name: "o")
        placement.wait(waiter(1, numerics: nil, tokens: 8192, shortest: 30), at: .now)
        placement.wait(waiter(2, numerics: nil, tokens: 8192, shortest: 1025), at: .now)
        placement.wait(waiter(3, numerics: "x", tokens: 8192), at: .now)
        #expect(placement.removeMisfits().isEmpty)
        placement.nodes = [node("small", blocks: 64)]
        #expect(placement.admit(at: .now).isEmpty)
        #expect(placement.removeMisfits().map(\.id) == [1])
        #expect(placement.removeMisfits().isEmpty)
    }

    @Test func capacityIsWhatEveryNodeOfAnIdHolds() {
        #expect(NodeCapacity(of: []) == nil)
        let nodes = [node("a", blocks: 64), node("b", blocks: 128), node("c", "y", blocks: 32)]
        #expect(NodeCapacity(of: nodes) == NodeCapacity(smallest: 1024, largest: 2048))
        // Of what is announced nothing is believed that no node could mean.
        #expect(node("d", blocks: .max).capacity == 8192)
        #expect(node("e", context: -1, blocks: 5).capacity == 0)
        #expect(node("f", blocks: 0).capacity == 8192)
        #expect(node("g", context: 2048, blocks: 4096).capacity == 2048)
    }

    /// An orchestrator that says anything at all about itself harms nobody but the share.
    @Test func hostilePeersAreBounded() {
        for number in [Int.max, .min, -5] {
            let share = PlaceShare(
                places: 8, own: "o",
                peers: [.init(id: "p", used: max(0, min(number, 1_000_000)), waiting: max(0, min(number, 1_000_000)))])
            #expect((1...8).contains(share.limit))
        }
        #expect(PlaceShare(places: 1, own: "b", peers: [.init(id: "a", used: 1, waiting: 9)]).limit == 1)
        #expect(PlaceShare(places: 1, own: "b", peers: [.init(id: "a", used: 1, waiting: 9)]).mayTake(used: 0, loan: 0))
        #expect(
            !PlaceShare(places: 8, own: "b", peers: [.init(id: "a", used: 4, waiting: 9)]).mayTake(used: 4, loan: 9))
        #expect(PlaceShare(places: 8, own: "b", peers: [.init(id: "a", used: 1, waiting: 0)]).limit == 7)
    }
}
