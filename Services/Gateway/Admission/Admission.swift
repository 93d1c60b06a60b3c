import ChatCore

/// Says of every new turn whether it is accepted, by how long it would wait for its first token: what could only be
/// kept waiting is refused at once, with the time after which it would be accepted. Pure: it is told the time.
///
/// The estimate comes from what orchestrators announced a moment ago. What this gateway has accepted since is added
/// to it, in the form of one more orchestrator, so that a burst does not slip through between two announcements.
struct Admission {
    /// The longest estimated wait for the first token for which a tier's turns are accepted; zero lifts the bound.
    struct Bounds: Sendable, Equatable {
        var premium: Duration
        var standard: Duration
        var economy: Duration

        subscript(tier: Tier) -> Duration? {
            let bound =
                switch tier {
                case .premium: premium
                case .standard: standard
                case .economy: economy
                }
            return bound > .zero ? bound : nil
        }
    }

    enum Verdict: Equatable {
        /// - Parameter pressure: the estimate as a share of the tier's bound; 0 without an estimate or a bound.
        case accept(pressure: Double)
        /// - Parameter retryAfter: when a turn of this tenant would be accepted, if those refused before it come back
        ///   when they were told to.
        case refuse(estimate: Duration, retryAfter: Duration)
    }

    /// An observation that is older says nothing any more.
    static let freshness: Duration = .seconds(5)
    /// From a turn's acceptance until orchestrators' announcements count it and have been read here.
    static let announcementLag: Duration = .seconds(1)
    /// The longest time that a refused client is told to wait.
    static let longestRetry: Duration = .seconds(300)
    /// Tenants whose refused turns are kept apart, at most.
    static let maximumPromises = 4096

    private struct Promised: Hashable {
        let tenant: ExactName
        let tier: Tier
    }

    let bounds: Bounds
    private var load: ClusterLoad?
    private var observedAt: ContinuousClock.Instant?
    private var recent = RecentAcceptances()
    /// What the cluster was like when it last had nodes. While all of them are away, turns pile up against it.
    private var remembered: (places: Int, service: ByKind<Double?>, firstToken: Double?)?
    /// When the next refused turn may come back.
    private var promises: [Promised: ContinuousClock.Instant] = [:]

    init(bounds: Bounds) { self.bounds = bounds }

    /// Takes what the orchestrators announced and the broker said.
    /// - Parameter now: when they were asked.
    mutating func observe(_ load: ClusterLoad, at now: ContinuousClock.Instant) {
        self.load = load
        observedAt = now
        recent.forget(before: now - Admission.announcementLag)
        guard load.places > 0 else { return }
        for announced in load.orchestrators where announced.places == load.places {
            remembered = (announced.places, announced.serviceSeconds, announced.firstTokenSeconds)
        }
    }

    /// Whether the turn would be accepted at less than this pressure, however many turns of the same user wait.
    func isCalm(
        _ kind: Turn.Kind, of user: UserKey, tier: Tier, below pressure: Double, at now: ContinuousClock.Instant
    ) -> Bool {
        guard kind != .batch, let bound = bounds[tier],
            let estimate = presentLoad(at: now)?.estimate(kind: kind, tenant: user.tenant, own: .max)
        else { return true }
        return Duration.seconds(estimate.seconds) < bound * pressure
    }

    /// - Parameter own: unfinished turns of the same user.
    mutating func decide(
        _ kind: Turn.Kind, of user: UserKey, tier: Tier, own: Int, at now: ContinuousClock.Instant
    ) -> Verdict {
        // Nobody sits in front of a batch turn: it waits, however long.
        guard kind != .batch, let bound = bounds[tier], let load = presentLoad(at: now),
            let estimate = load.estimate(kind: kind, tenant: user.tenant, own: own)
        else { return .accept(pressure: 0) }
        let wait = Duration.seconds(estimate.seconds)
        guard wait > bound else { return .accept(pressure: wait / bound) }
        let waiting = load.waitingTurns(of: user.tenant, kind: kind)
        let spacing = Duration.seconds(estimate.seconds / Double(waiting + 1))
        return .refuse(
            estimate: wait,
            retryAfter: promise(
                to: Promised(tenant: ExactName(user.tenant), tier: tier), from: wait - bound, spacing, at: now))
    }

    /// Counts a turn that was accepted here.
    mutating func noteAccepted(_ kind: Turn.Kind, of user: UserKey, at now: ContinuousClock.Instant) {
        recent.add(kind, of: user, at: now)
    }

    /// The wait has to shrink by `excess` before the next turn of the tenant is accepted; those refused since are told
    /// to come one after the other, at the pace at which the tenant's turns get places.
    private mutating func promise(
        to promised: Promised, from excess: Duration, _ spacing: Duration, at now: ContinuousClock.Instant
    ) -> Duration {
        let earliest = now + excess
        let slot = max(earliest, promises[promised] ?? earliest)
        guard slot - now < Admission.longestRetry else { return Admission.longestRetry }
        if promises.count >= Admission.maximumPromises, promises[promised] == nil {
            promises = promises.filter { $0.value > now }
            // Still too many: forgetting them all makes clients come too early, and be refused again.
            if promises.count >= Admission.maximumPromises { promises.removeAll() }
        }
        promises[promised] = slot + spacing
        return slot - now
    }

    private func presentLoad(at now: ContinuousClock.Instant) -> ClusterLoad? {
        guard let load, let observedAt, now - observedAt <= Admission.freshness else { return nil }
        var accepted = recent.load
        if load.places == 0, let remembered {
            accepted.places = remembered.places
            accepted.serviceSeconds = remembered.service
            accepted.firstTokenSeconds = remembered.firstToken
        }
        return ClusterLoad(load.orchestrators + [accepted], queued: load.queued)
    }
}

extension ClusterLoad {
    fileprivate func waitingTurns(of tenant: String, kind: Turn.Kind) -> Int {
        orchestrators.reduce(0) { sum, load in
            sum
                + (load.waiting[kind].tenants.first { ExactName($0.tenant) == ExactName(tenant) }.map {
                    max(0, $0.turns)
                } ?? 0)
        }
    }
}
