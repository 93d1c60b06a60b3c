import ChatCore
import Testing

@Suite struct FirstTokenEstimateTests {
    private func load(
        _ id: String, waiting: [Turn.Kind: [(String, Int, Int)]] = [:], running: Int = 0, places: Int = 4,
        service: Double? = 2, firstToken: Double? = 0.1
    ) -> OrchestratorLoad {
        var load = OrchestratorLoad(id: id, places: places, firstTokenSeconds: firstToken)
        for (kind, tenants) in waiting {
            load.waiting[kind] = .init(tenants.map { .init(tenant: $0.0, turns: $0.1, users: $0.2) })
        }
        load.running.stream = running
        load.serviceSeconds.stream = service
        return load
    }

    @Test func aFreePlaceCostsThePrefillOnly() throws {
        let estimate = try #require(ClusterLoad([load("a", running: 3)]).estimate(kind: .stream, tenant: "t"))
        #expect(estimate == FirstTokenEstimate(ahead: 0, seconds: 0.1))
    }

    @Test func everyTurnAheadCostsAPlaceThatBecomesFree() throws {
        // Four places of two seconds: one becomes free every half second, and the new turn needs the sixth.
        let cluster = ClusterLoad([load("a", waiting: [.stream: [("t", 5, 5)]], running: 4)])
        let estimate = try #require(cluster.estimate(kind: .stream, tenant: "t"))
        #expect(estimate.ahead == 5)
        #expect(abs(estimate.seconds - 3.1) < 1e-9)
    }

    @Test func aBusyNeighbourCostsOneTurn() {
        let cluster = ClusterLoad([
            load("a", waiting: [.stream: [("busy", 250, 1)]], running: 2),
            load("b", waiting: [.stream: [("busy", 250, 1)]], running: 2),
        ])
        #expect(cluster.estimate(kind: .stream, tenant: "other")?.ahead == 1)
        // Another user of the busy tenant: one turn of each orchestrator's busy user.
        #expect(cluster.estimate(kind: .stream, tenant: "busy")?.ahead == 2)
        #expect(cluster.estimate(kind: .stream, tenant: "busy", own: 500)?.ahead == 500)
    }

    @Test func moreUrgentKindsGoFirst() {
        let cluster = ClusterLoad(
            [load("a", waiting: [.stream: [("t", 7, 7)], .chat: [("t", 5, 5)], .batch: [("t", 3, 3)]], running: 4)],
            queued: ByKind(stream: 2, chat: 1, batch: 0))
        #expect(cluster.estimate(kind: .stream, tenant: "t")?.ahead == 9)
        #expect(cluster.estimate(kind: .chat, tenant: "t")?.ahead == 15)
        #expect(cluster.estimate(kind: .batch, tenant: "t")?.ahead == 18)
    }

    @Test func whoDoesNotKnowSaysSo() {
        #expect(ClusterLoad([]).estimate(kind: .chat, tenant: "t") == nil)
        #expect(ClusterLoad([load("a", places: 0)]).estimate(kind: .chat, tenant: "t") == nil)
        #expect(ClusterLoad([load("a", running: 4, service: nil)]).estimate(kind: .chat, tenant: "t") == nil)
        #expect(ClusterLoad([load("a", running: 3, service: nil)]).estimate(kind: .chat, tenant: "t") != nil)
    }

    /// Announcements come out of a store: whatever they say, there is no trap and no absurd time.
    @Test func hostileNumbersAreBounded() {
        for number in [Int.max, .min, -1] {
            var hostile = load(
                "a", waiting: [.stream: [("t", number, number), ("u", number, number)]], running: number, places: 4,
                service: .infinity, firstToken: .nan)
            hostile.serviceSeconds.chat = -3
            #expect(ClusterLoad([hostile, hostile]).estimate(kind: .batch, tenant: "t", own: number)?.seconds != .nan)
            hostile.serviceSeconds.chat = 1e300
            let estimate = ClusterLoad([hostile], queued: ByKind(repeating: number))
                .estimate(kind: .batch, tenant: "t", own: number)
            #expect(estimate?.seconds.isFinite ?? true)
        }
    }

    @Test func onlySoManyTenantsAreNamed() {
        let waiting = OrchestratorLoad.Waiting((1...100).map { .init(tenant: "\($0)", turns: $0, users: 1) })
        #expect(waiting.tenants.count == 64 && waiting.tenants.first?.turns == 100)
        #expect(waiting.furtherTenants == 36 && waiting.turns == 5050)
        var load = load("a", running: 4)
        load.waiting.stream = waiting
        // A tenant of its own: one turn of everybody.
        #expect(ClusterLoad([load]).estimate(kind: .stream, tenant: "new")?.ahead == 100)
    }
}
