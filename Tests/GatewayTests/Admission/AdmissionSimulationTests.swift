import ChatCore
import SeededRandom
import Testing

@testable import gateway

/// Admission in front of a simulated cluster: places, service times, announcements that lag, clients that come back
/// when they were told to. Milliseconds pass as the simulation says; every run follows from its seed.
@Suite struct AdmissionSimulationTests {
    private let bounds = Admission.Bounds(premium: .seconds(20), standard: .seconds(10), economy: .seconds(4))

    @Test(arguments: 1...5 as ClosedRange<UInt64>) func belowItsCapacityNobodyIsRefused(seed: UInt64) {
        var cluster = SimulatedCluster(bounds: bounds, places: 16, service: 1500...2500, seed: seed)
        // Eight a second, of which six come.
        cluster.run(milliseconds: 60_000) { $0.arrive(ratePerSecond: 6, tenant: "acme", users: 20) }
        cluster.drain()
        #expect(cluster.refusals == 0 && cluster.waits.count > 300)
        #expect(cluster.waits.allSatisfy { $0.milliseconds < 10_000 })
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>) func overloadIsSaidAtOnceAndWhoIsAcceptedIsServedInTime(seed: UInt64)
    {
        var cluster = SimulatedCluster(bounds: bounds, places: 16, service: 1000...3000, seed: seed)
        // Three times of what can be served.
        cluster.run(milliseconds: 120_000) { cluster in
            cluster.arrive(ratePerSecond: 12, tenant: "acme", users: 5000)
            cluster.arrive(ratePerSecond: 6, tenant: "acme", users: 5000, tier: .economy)
            cluster.arrive(ratePerSecond: 6, tenant: "acme", users: 5000, tier: .premium)
        }
        let idle = cluster.idleShare
        cluster.drain()
        #expect(cluster.refusals > 500)
        // A quarter more than promised, for what an estimate cannot foresee: these turns may take longer than the last.
        // A user's second turn waits for the first ones of users who come later.
        for tier in Tier.allCases {
            let waits = cluster.waits.filter { $0.tier == tier }.map(\.milliseconds).sorted()
            #expect(waits[waits.count * 99 / 100] <= 1.25 * cluster.bound(tier) + 500, "\(tier)")
            #expect(waits[waits.count - 1] <= 2 * cluster.bound(tier) + 500, "\(tier)")
        }
        // Refusing costs no throughput: there is always somebody waiting.
        #expect(idle < 0.02)
        // A longer patience lets in more.
        #expect(cluster.acceptedShare(.premium) > cluster.acceptedShare(.economy))
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>) func whoComesBackWhenToldIsAccepted(seed: UInt64) {
        var cluster = SimulatedCluster(bounds: bounds, places: 8, service: 1800...2200, seed: seed, comesBack: true)
        cluster.run(milliseconds: 1000) { _ in }
        for number in 0..<300 { cluster.ask(.init(tenant: "acme", user: "u\(number)"), .standard) }
        // Four a second, and ten seconds' worth of them at once.
        #expect((30...60).contains(cluster.waiting), "\(cluster.waiting)")
        cluster.drain()
        #expect(cluster.waits.count == 300)
        let first = cluster.returns.count { $0 == 1 }
        #expect(first * 4 > cluster.returns.count * 3, "\(first) of \(cluster.returns.count) came back once")
        #expect(cluster.waits.allSatisfy { $0.milliseconds <= 12_500 })
        // 300 turns at four a second: nobody was told to wait in vain.
        #expect(cluster.now < 75_000 * 5 / 4, "\(cluster.now)")
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>) func aCrowdDoesNotShutOutTheOthers(seed: UInt64) {
        var cluster = SimulatedCluster(bounds: bounds, places: 4, service: 900...1100, seed: seed)
        cluster.run(milliseconds: 1000) { _ in }
        for _ in 0..<500 { cluster.ask(.init(tenant: "crowd", user: "one"), .standard) }
        cluster.run(milliseconds: 20_000) { $0.arrive(ratePerSecond: 0.5, tenant: "quiet", users: 3) }
        cluster.drain()
        let quiet = cluster.waits.filter { $0.tenant == "quiet" }
        #expect(quiet.count > 3 && quiet.allSatisfy { $0.milliseconds < 1500 })
        #expect(cluster.refusedTenants == ["crowd"])
    }
}

private struct SimulatedCluster {
    struct Wait { let tenant: String; let tier: Tier; let milliseconds: Double }
    private struct Request {
        let user: UserKey
        let tier: Tier
        let acceptedAt: Int
        let tries: Int
    }

    /// A tenant's waiting turns: its users take turns.
    private struct Line {
        var users: [String] = []
        var turns: [String: [Request]] = [:]
        var count = 0

        mutating func append(_ request: Request) {
            if turns[request.user.user] == nil { users.append(request.user.user) }
            turns[request.user.user, default: []].append(request)
            count += 1
        }

        mutating func popFirst() -> Request? {
            guard !users.isEmpty else { return nil }
            let user = users.removeFirst()
            let request = turns[user]?.removeFirst()
            if turns[user]?.isEmpty == true { turns[user] = nil } else { users.append(user) }
            count -= 1
            return request
        }
    }

    private let start = ContinuousClock.now
    private let bounds: Admission.Bounds
    private let places: Int
    private let service: ClosedRange<Int>
    private let comesBack: Bool
    private var random: SeededGenerator
    private var admission: Admission
    private(set) var now = 0
    private var tenants: [String] = []
    private var lines: [String: Line] = [:]
    private var running: [Int] = []
    private var unfinished: [UserKey: Int] = [:]
    private var runningUsers: [(end: Int, user: UserKey)] = []
    private var served: (count: Int, milliseconds: Int) = (0, 0)
    private var announced = OrchestratorLoad(id: "o")
    private var later: [Int: [(UserKey, Tier, Int)]] = [:]
    private var idle = 0

    private(set) var waits: [Wait] = []
    private(set) var refusals = 0
    private(set) var refusedTenants: Set<String> = []
    private(set) var asked: [Tier: Int] = [:]
    private(set) var accepted: [Tier: Int] = [:]
    /// How often each accepted one had been refused before.
    private(set) var returns: [Int] = []

    init(
        bounds: Admission.Bounds, places: Int, service: ClosedRange<Int>, seed: UInt64, comesBack: Bool = false
    ) {
        self.bounds = bounds
        self.places = places
        self.service = service
        self.comesBack = comesBack
        random = SeededGenerator(seed: seed)
        admission = Admission(bounds: bounds)
        // It has served before: without a measured time nobody is ever refused.
        served = (10, 10 * (service.lowerBound + service.upperBound) / 2)
    }

    var waiting: Int { lines.values.reduce(0) { $0 + $1.count } + running.count }
    var idleShare: Double { Double(idle) / Double(max(now, 1) * places) }

    func bound(_ tier: Tier) -> Double { (bounds[tier] ?? .zero) / .milliseconds(1) }
    func acceptedShare(_ tier: Tier) -> Double { Double(accepted[tier, default: 0]) / Double(asked[tier, default: 1]) }

    mutating func run(milliseconds: Int, _ arrivals: (inout SimulatedCluster) -> Void) {
        for _ in 0..<milliseconds { step(arrivals) }
    }

    mutating func drain() {
        var limit = 3_600_000
        while waiting > 0 || !later.isEmpty, limit > 0 {
            step { _ in }
            limit -= 1
        }
    }

    mutating func arrive(ratePerSecond: Double, tenant: String, users: Int, tier: Tier = .standard) {
        guard Double.random(in: 0..<1000, using: &random) < ratePerSecond else { return }
        let user = UserKey(tenant: tenant, user: "u\(Int.random(in: 0..<users, using: &random))")
        ask(user, tier)
    }

    mutating func ask(_ user: UserKey, _ tier: Tier, tries: Int = 0) {
        let instant = start + .milliseconds(now)
        asked[tier, default: 0] += 1
        switch admission.decide(.stream, of: user, tier: tier, own: unfinished[user] ?? 0, at: instant) {
        case .accept:
            admission.noteAccepted(.stream, of: user, at: instant)
            accepted[tier, default: 0] += 1
            if tries > 0 { returns.append(tries) }
            unfinished[user, default: 0] += 1
            if lines[user.tenant] == nil { tenants.append(user.tenant) }
            lines[user.tenant, default: Line()].append(Request(user: user, tier: tier, acceptedAt: now, tries: tries))
        case .refuse(_, let retryAfter):
            refusals += 1
            refusedTenants.insert(user.tenant)
            guard comesBack else { return }
            // As the header has it: whole seconds, rounded up.
            let wait = max(1, Int((retryAfter / .seconds(1)).rounded(.up)))
            later[now + wait * 1000, default: []].append((user, tier, tries + 1))
        }
    }

    private mutating func step(_ arrivals: (inout SimulatedCluster) -> Void) {
        now += 1
        for (user, tier, tries) in later.removeValue(forKey: now) ?? [] { ask(user, tier, tries: tries) }
        arrivals(&self)
        for run in runningUsers where run.end <= now { unfinished[run.user, default: 1] -= 1 }
        runningUsers.removeAll { $0.end <= now }
        running.removeAll { $0 <= now }
        while running.count < places, !tenants.isEmpty { startNext() }
        idle += places - running.count
        if now % 500 == 0 { announce() }
        if now % 250 == 0 { admission.observe(ClusterLoad([announced]), at: start + .milliseconds(now)) }
    }

    /// Tenants take turns.
    private mutating func startNext() {
        let tenant = tenants.removeFirst()
        guard var line = lines[tenant], let request = line.popFirst() else { return }
        lines[tenant] = line.count == 0 ? nil : line
        if line.count > 0 { tenants.append(tenant) }
        waits.append(Wait(tenant: tenant, tier: request.tier, milliseconds: Double(now - request.acceptedAt)))
        let time = Int.random(in: service, using: &random)
        running.append(now + time)
        runningUsers.append((now + time, request.user))
        served = (served.count + 1, served.milliseconds + time)
    }

    private mutating func announce() {
        announced.places = places
        announced.running.stream = running.count
        announced.serviceSeconds.stream = Double(served.milliseconds) / Double(served.count) / 1000
        announced.waiting.stream = OrchestratorLoad.Waiting(
            lines.map { tenant, line in
                .init(tenant: tenant, turns: line.count, users: line.users.count)
            })
    }
}
