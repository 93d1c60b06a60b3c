import ChatCore

/// The turns that this gateway accepted in the last moments, which no announcement counts yet.
struct RecentAcceptances {
    /// Turns that are kept; beyond them none is counted, which may let some too many in.
    static let capacity = 10_000
    /// How exactly their times are kept.
    private static let interval: Duration = .milliseconds(200)

    private struct Interval {
        let start: ContinuousClock.Instant
        var turns: [(kind: Turn.Kind, user: UserKey)]
    }

    private var intervals: [Interval] = []
    private var count = 0
    /// The turns of all intervals by tenant and user, kept as they come and go: it is asked for with every request.
    private var sums = ByKind<[ExactName: [ExactName: Int]]>(repeating: [:])

    mutating func add(_ kind: Turn.Kind, of user: UserKey, at now: ContinuousClock.Instant) {
        guard count < RecentAcceptances.capacity else { return }
        if let last = intervals.last, now - last.start < RecentAcceptances.interval {
            intervals[intervals.count - 1].turns.append((kind, user))
        } else {
            intervals.append(Interval(start: now, turns: [(kind, user)]))
        }
        sums[kind][ExactName(user.tenant), default: [:]][ExactName(user.user), default: 0] += 1
        count += 1
    }

    /// Forgets the intervals that began before `time`.
    mutating func forget(before time: ContinuousClock.Instant) {
        let old = intervals.prefix { $0.start < time }
        for turn in old.lazy.flatMap(\.turns) { subtract(turn.kind, turn.user) }
        intervals.removeFirst(old.count)
    }

    private mutating func subtract(_ kind: Turn.Kind, _ user: UserKey) {
        count -= 1
        let (tenant, name) = (ExactName(user.tenant), ExactName(user.user))
        guard let turns = sums[kind][tenant]?[name] else { return }
        sums[kind][tenant]?[name] = turns > 1 ? turns - 1 : nil
        if sums[kind][tenant]?.isEmpty == true { sums[kind][tenant] = nil }
    }

    /// They wait, as far as this gateway knows, at an orchestrator that it has heard nothing of.
    var load: OrchestratorLoad {
        var load = OrchestratorLoad(id: "accepted here")
        for kind in Turn.Kind.byUrgency where !sums[kind].isEmpty {
            load.waiting[kind] = OrchestratorLoad.Waiting(
                sums[kind].map { tenant, users in
                    .init(tenant: tenant.text, turns: users.values.reduce(0, +), users: users.count)
                })
        }
        return load
    }
}
