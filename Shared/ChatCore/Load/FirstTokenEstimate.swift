/// When a turn will have its first token, as far as anybody can say.
public struct FirstTokenEstimate: Sendable, Equatable {
    /// Turns that get a place before this one.
    public let ahead: Int
    public let seconds: Double

    public init(ahead: Int, seconds: Double) {
        self.ahead = ahead
        self.seconds = seconds
    }

    /// - Parameters:
    ///   - ahead: turns that wait and go first.
    ///   - free, places: places that are free now, and all of them.
    ///   - service: seconds that a turn keeps its place; nil when nobody knows.
    ///   - firstToken: seconds from getting the place to the first token; nil counts as none.
    /// - Returns: nil when the turn has to wait and nothing says how fast places become free.
    public init?(ahead: Int, free: Int, places: Int, service: Double?, firstToken: Double?) {
        guard places > 0 else { return nil }
        let prefill = FirstTokenEstimate.bounded(firstToken) ?? 0
        guard ahead >= free else {
            self.init(ahead: ahead, seconds: prefill)
            return
        }
        guard let service = FirstTokenEstimate.bounded(service) else { return nil }
        // With all places taken one becomes free every service / places on average, and this turn needs the
        // (ahead - free + 1)th.
        self.init(ahead: ahead, seconds: Double(ahead - free + 1) * service / Double(places) + prefill)
    }

    /// Rates come from a store: one that is no time counts as unknown.
    private static func bounded(_ seconds: Double?) -> Double? {
        guard let seconds, seconds.isFinite, seconds >= 0 else { return nil }
        return min(seconds, 86_400)
    }
}

/// What all orchestrators together have to do, and how long a new turn would wait for its first token.
///
/// It follows the order in which places are given: streams before chats before batch, tenants in turn within a kind,
/// users in turn within a tenant. What will come after the new turn and yet go first is not foreseen.
public struct ClusterLoad: Sendable, Equatable {
    public let orchestrators: [OrchestratorLoad]
    /// Turns that no orchestrator has taken from the broker yet.
    public let queued: ByKind<Int>

    public init(_ orchestrators: [OrchestratorLoad], queued: ByKind<Int> = ByKind(repeating: 0)) {
        self.orchestrators = orchestrators
        self.queued = queued
    }

    /// Places at living nodes. Orchestrators see the same nodes, but not in the same moment.
    public var places: Int { orchestrators.map(\.places.asCount).max() ?? 0 }
    public var running: Int {
        orchestrators.reduce(0) { sum, load in Turn.Kind.byUrgency.reduce(sum) { $0 + load.running[$1].asCount } }
    }

    /// - Parameter own: turns of the same user and kind that wait already.
    /// - Returns: nil when nobody can say: no orchestrator, no node, or no turn measured yet while all places are taken.
    public func estimate(kind: Turn.Kind, tenant: String, own: Int = 0) -> FirstTokenEstimate? {
        var ahead = turnsAhead(in: kind, tenant: tenant, own: own.asCount) + queued[kind].asCount
        for urgent in Turn.Kind.byUrgency.prefix(while: { $0 != kind }) {
            ahead += queued[urgent].asCount + orchestrators.reduce(0) { $0 + $1.waiting[urgent].turns }
        }
        return FirstTokenEstimate(
            ahead: ahead, free: max(0, places - running), places: places, service: service, firstToken: firstToken)
    }

    /// Turns of the same kind that go first: in every round each waiting tenant gets a place.
    private func turnsAhead(in kind: Turn.Kind, tenant: String, own: Int) -> Int {
        var tenants: [ExactName: (turns: Int, users: Int)] = [:]
        var (furtherTenants, furtherTurns) = (0, 0)
        for load in orchestrators {
            for line in load.waiting[kind].tenants {
                tenants[ExactName(line.tenant), default: (0, 0)].turns += line.turns.asCount
                tenants[ExactName(line.tenant), default: (0, 0)].users += line.users.asCount
            }
            furtherTenants += load.waiting[kind].furtherTenants.asCount
            furtherTurns += load.waiting[kind].furtherTurns.asCount
        }
        // Its own tenant's turns that go first: from each user as many as this user has waiting, and one more.
        let mine = tenants.removeValue(forKey: ExactName(tenant)) ?? (0, 0)
        let rounds = min(mine.turns, mine.users * (own + 1))
        return rounds + tenants.values.reduce(0) { $0 + min($1.turns, rounds + 1) }
            + min(furtherTurns, furtherTenants * (rounds + 1))
    }

    /// Seconds that a turn keeps its place: the kinds' means, each as often as it runs.
    public var service: Double? {
        var (sum, weight) = (0.0, 0.0)
        for load in orchestrators {
            for kind in Turn.Kind.byUrgency {
                guard let seconds = load.serviceSeconds[kind], seconds.isFinite, seconds >= 0 else { continue }
                // What has run, though it does not now, says something too.
                let share = Double(load.running[kind].asCount) + 0.01
                sum += seconds * share
                weight += share
            }
        }
        return weight > 0 ? sum / weight : nil
    }

    private var firstToken: Double? {
        let known = orchestrators.compactMap(\.firstTokenSeconds).filter { $0.isFinite && $0 >= 0 }
        return known.isEmpty ? nil : known.reduce(0, +) / Double(known.count)
    }
}
