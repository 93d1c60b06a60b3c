import ChatCore
import Testing

@testable import gateway

@Suite struct AdmissionTests {
    private let start = ContinuousClock.now
    private let bounds = Admission.Bounds(premium: .seconds(60), standard: .seconds(10), economy: .seconds(5))

    /// One place, a second for each turn: as many seconds as turns wait.
    private func load(waiting: Int, tenant: String = "acme", users: Int = 1, places: Int = 1) -> ClusterLoad {
        var load = OrchestratorLoad(
            id: "o", running: ByKind(stream: places, chat: 0, batch: 0), places: places,
            serviceSeconds: ByKind(repeating: 1))
        load.waiting.stream = .init([.init(tenant: tenant, turns: waiting, users: users)])
        return ClusterLoad([load])
    }

    private func user(_ name: String, tenant: String = "acme") -> UserKey { UserKey(tenant: tenant, user: name) }

    private func verdict(
        of admission: inout Admission, _ kind: Turn.Kind = .stream, tier: Tier = .standard, tenant: String = "acme",
        own: Int = 1000, after: Duration = .zero
    ) -> Admission.Verdict {
        admission.decide(kind, of: user("ann", tenant: tenant), tier: tier, own: own, at: start + after)
    }

    @Test func whoKnowsNothingRefusesNobody() {
        var admission = Admission(bounds: bounds)
        #expect(verdict(of: &admission) == .accept(pressure: 0))
        admission.observe(ClusterLoad([]), at: start)
        #expect(verdict(of: &admission) == .accept(pressure: 0))
        // What was known is no news after a while.
        admission.observe(load(waiting: 100), at: start)
        #expect(verdict(of: &admission) != .accept(pressure: 0))
        #expect(verdict(of: &admission, after: .seconds(6)) == .accept(pressure: 0))
    }

    @Test func eachTierHasItsBound() {
        var admission = Admission(bounds: bounds)
        admission.observe(load(waiting: 7), at: start)
        #expect(verdict(of: &admission, tier: .premium) == .accept(pressure: 8.0 / 60))
        #expect(verdict(of: &admission) == .accept(pressure: 0.8))
        #expect(
            verdict(of: &admission, tier: .economy) == .refuse(estimate: .seconds(8), retryAfter: .seconds(3)))
        var unbounded = Admission(bounds: .init(premium: .zero, standard: .zero, economy: .zero))
        unbounded.observe(load(waiting: 1000), at: start)
        #expect(verdict(of: &unbounded) == .accept(pressure: 0))
    }

    @Test func batchTurnsWaitHoweverLong() {
        var admission = Admission(bounds: bounds)
        admission.observe(load(waiting: 1000), at: start)
        #expect(verdict(of: &admission, .batch, tier: .economy) == .accept(pressure: 0))
    }

    @Test func aCrowdOfOneTenantRefusesItselfAndNobodyElse() {
        var admission = Admission(bounds: bounds)
        admission.observe(load(waiting: 500, users: 1), at: start)
        guard case .refuse = verdict(of: &admission) else { return #expect(Bool(false), "500 wait already") }
        // Another tenant's turn comes after one of theirs; another user of the same tenant too.
        #expect(verdict(of: &admission, tenant: "umbrella", own: 0) == .accept(pressure: 0.2))
        #expect(verdict(of: &admission, own: 0) == .accept(pressure: 0.2))
    }

    @Test func aBurstDoesNotSlipThroughBetweenTwoAnnouncements() {
        var admission = Admission(bounds: bounds)
        admission.observe(load(waiting: 0), at: start)
        var accepted = 0
        for _ in 0..<50 {
            guard case .accept = verdict(of: &admission) else { continue }
            admission.noteAccepted(.stream, of: user("ann"), at: start)
            accepted += 1
        }
        #expect(accepted == 10)
        // The announcement that counts them comes later: until then they are neither forgotten nor counted twice for long.
        admission.observe(load(waiting: 0), at: start + .milliseconds(500))
        guard case .refuse = verdict(of: &admission, after: .milliseconds(500)) else {
            return #expect(Bool(false), "what was just accepted is forgotten")
        }
        admission.observe(load(waiting: 4), at: start + .milliseconds(1500))
        #expect(verdict(of: &admission, after: .milliseconds(1500)) == .accept(pressure: 0.5))
    }

    @Test func theRefusedAreToldToComeOneAfterTheOther() {
        var admission = Admission(bounds: bounds)
        admission.observe(load(waiting: 19), at: start)
        let told = (0..<4).map { _ -> Duration in
            guard case .refuse(_, let retryAfter) = verdict(of: &admission) else { return .zero }
            return retryAfter
        }
        #expect(told == [.seconds(10), .seconds(11), .seconds(12), .seconds(13)])
        // Another tenant's are counted apart, and nobody is told to wait for ever.
        admission.observe(load(waiting: 19, tenant: "umbrella"), at: start)
        #expect(
            verdict(of: &admission, tenant: "umbrella") == .refuse(estimate: .seconds(20), retryAfter: .seconds(10)))
        admission.observe(load(waiting: 5000), at: start)
        guard case .refuse(_, let retryAfter) = verdict(of: &admission) else { return #expect(Bool(false)) }
        #expect(retryAfter == Admission.longestRetry)
    }

    @Test func withoutNodesTurnsPileUpToTheBoundOnly() {
        var admission = Admission(bounds: bounds)
        admission.observe(load(waiting: 0, places: 2), at: start)
        // All nodes are gone; so is, a moment later, the orchestrator.
        var gone = load(waiting: 0).orchestrators[0]
        gone.places = 0
        gone.serviceSeconds = ByKind(repeating: nil)
        for load in [ClusterLoad([gone]), ClusterLoad([], queued: ByKind(stream: 0, chat: 0, batch: 0))] {
            admission.observe(load, at: start + .seconds(10))
            var accepted = 0
            while accepted < 100, case .accept = verdict(of: &admission, after: .seconds(10)) {
                admission.noteAccepted(.stream, of: user("ann"), at: start + .seconds(10))
                accepted += 1
            }
            #expect((20...22).contains(accepted))
            // The next observation is later than the lag: what was accepted is where announcements count it.
            admission.observe(load, at: start + .seconds(20))
        }
    }

    @Test func recentAcceptancesBalance() {
        var recent = RecentAcceptances()
        for step in 0..<100 {
            recent.add(step % 2 == 0 ? .stream : .chat, of: user("u\(step % 7)"), at: start + .milliseconds(step * 50))
        }
        #expect(recent.load.waiting.stream.turns == 50 && recent.load.waiting.stream.tenants.first?.users == 7)
        recent.forget(before: start + .milliseconds(2500))
        // To the interval: nothing is forgotten too late, a little too early.
        #expect((46...50).contains(recent.load.waitingTurns))
        recent.forget(before: start + .seconds(60))
        #expect(recent.load.waitingTurns == 0)
        for _ in 0..<20_000 { recent.add(.stream, of: user("u"), at: start) }
        #expect(recent.load.waitingTurns == RecentAcceptances.capacity)
    }
}
