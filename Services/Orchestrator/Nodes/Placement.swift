import ChatCore
import RedisStore

/// Which waiting turn gets which node's place: the decision, without clock or network.
struct Placement {
    struct Waiter: Equatable {
        let id: UInt64
        let turn: TurnID
        let kind: Turn.Kind
        let owner: UserKey
        /// Nil runs on any model.
        let model: String?
        /// Nil runs under any numerics id.
        let numericsID: String?
        /// Tokens of prompt and answer, which the node has to hold.
        var tokens = 0
        /// The fewest that another plan could have; nil when the plan stands.
        var shortest: Int?

        func mayRun(at node: NodeAnnouncement) -> Bool { suits(node) && tokens <= node.capacity }

        /// Whether the node has the model and the arithmetic, however much it can hold.
        func suits(_ node: NodeAnnouncement) -> Bool {
            node.serves(model) && (numericsID == nil || node.numericsID == numericsID)
        }
    }

    struct Grant {
        let hold: UInt64
        let waiter: Waiter
        let node: NodeAnnouncement
    }

    private struct Hold {
        let node: String
        let kind: Turn.Kind
        let since: ContinuousClock.Instant
    }

    /// This orchestrator's name.
    let name: String
    /// How long a turn waits behind more urgent ones before it counts as one of them.
    let patience: ByKind<Duration?>
    /// Nodes that take turns, and what the other orchestrators said last.
    var nodes: [NodeAnnouncement] = []
    var peers: [OrchestratorLoad] = []
    private var queue = FairQueue<Waiter>()
    private var held: [UInt64: Hold] = [:]
    private var used: [String: Int] = [:]
    /// Places that may be taken at a node beyond the own share.
    private var loans: [String: Int] = [:]
    private var avoided: [String: ContinuousClock.Instant] = [:]
    private var rates = ServiceRates()
    private var lastHold: UInt64 = 0

    init(name: String, patience: ByKind<Duration?> = ByKind(repeating: nil)) {
        self.name = name
        self.patience = patience
    }

    mutating func wait(_ waiter: Waiter, at now: ContinuousClock.Instant) {
        queue.append(waiter, kind: waiter.kind, user: waiter.owner, at: now)
    }

    mutating func leave(_ id: UInt64) { queue.remove { $0.id == id } }

    /// What the living nodes can hold of a turn; nil when there are none for it.
    func capacity(model: String?, numericsID: String?) -> NodeCapacity? {
        NodeCapacity(
            of: nodes.filter {
                (model == nil || $0.model == model) && (numericsID == nil || $0.numericsID == numericsID)
            })
    }

    /// Takes out those that no living node can hold, and that one could if they were planned anew: they were planned while
    /// there were no nodes, or other ones.
    mutating func removeMisfits() -> [Waiter] {
        guard !queue.isEmpty, !nodes.isEmpty else { return [] }
        let misfits = queue.order.filter { waiter in
            guard let shortest = waiter.shortest,
                let largest = capacity(model: waiter.model, numericsID: waiter.numericsID)?.largest
            else { return false }
            return waiter.tokens > largest && shortest <= largest
        }
        for misfit in misfits { leave(misfit.id) }
        return misfits
    }

    /// A place that is free now and that no other turn waits for, at another node than `other`.
    mutating func takeFree(
        _ waiter: Waiter, besides other: String?, at now: ContinuousClock.Instant
    ) -> Grant? {
        guard queue.isEmpty else { return nil }
        let open = open(to: waiter.kind).filter { $0.id != other }
        return open.first(where: waiter.mayRun(at:)).map { take($0, waiter, at: now) }
    }

    /// Gives out what places there are.
    mutating func admit(at now: ContinuousClock.Instant) -> [Grant] {
        var grants: [Grant] = []
        while !queue.isEmpty {
            // Most of the time no node has room, and then no waiting turn needs to be looked at.
            let (open, openToBatch) = (open(to: .stream), open(to: .batch))
            guard !open.isEmpty else { break }
            var found: NodeAnnouncement?
            let next = queue.popFirst { waiter, kind in
                found = (kind == .batch ? openToBatch : open).first(where: waiter.mayRun(at:))
                return found != nil
            }
            guard let next, let found else { break }
            grants.append(take(found, next, at: now))
        }
        return grants
    }

    mutating func release(_ hold: UInt64, at now: ContinuousClock.Instant) {
        guard let hold = held.removeValue(forKey: hold) else { return }
        used[hold.node] = used[hold.node].flatMap { $0 > 1 ? $0 - 1 : nil }
        rates.add(hold.since.duration(to: now), kind: hold.kind)
    }

    /// To be called after every look at nodes and peers, before `admit`.
    mutating func age(at now: ContinuousClock.Instant) {
        loans = Dictionary(
            nodes.map { node in
                let share = share(of: node, as: .stream)
                let loan = loans[node.id, default: 0]
                let wanted =
                    queue.isEmpty ? min(loan, used[node.id, default: 0] - share.ownShare) : loan + share.loanStep
                return (node.id, max(0, min(wanted, share.limit - share.ownShare)))
            }
        ) { first, _ in first }
        avoided = avoided.filter { $0.value > now }
        queue.age(at: now, patience: patience)
    }

    /// Leaves a node alone for a while.
    mutating func avoid(_ node: String, until time: ContinuousClock.Instant) { avoided[node] = time }

    // MARK: What there is to do

    func load(firstTokenSeconds: Double?, at now: ContinuousClock.Instant) -> OrchestratorLoad {
        var running = ByKind(repeating: 0)
        for hold in held.values { running[hold.kind] += 1 }
        return OrchestratorLoad(
            id: name, waiting: queue.waiting, running: running, used: used,
            places: nodes.reduce(0) { $0 + $1.maximumSequences.asPlaces },
            serviceSeconds: rates.seconds(running: held.values.map { ($0.kind, $0.since.duration(to: now)) }),
            firstTokenSeconds: firstTokenSeconds)
    }

    /// Where each waiting stream stands.
    func waits(firstTokenSeconds: Double?, at now: ContinuousClock.Instant) -> [TurnID: TurnWait] {
        guard !queue.isEmpty else { return [:] }
        let places = nodes.reduce(0) { $0 + share(of: $1, as: .stream).limit }
        let service = ClusterLoad([load(firstTokenSeconds: nil, at: now)]).service
        var waits: [TurnID: TurnWait] = [:]
        for (position, waiter) in queue.order.enumerated() where waiter.kind == .stream {
            let estimate = FirstTokenEstimate(
                ahead: position, free: 0, places: places, service: service, firstToken: firstTokenSeconds)
            // The peers give places in the same rounds.
            let ahead = peers.reduce(position) { $0 + min(position, $1.waitingTurns) }
            waits[waiter.turn] = TurnWait(
                place: ahead + 1, estimate: estimate.map { Int64(($0.seconds * 1000).rounded()) })
        }
        return waits
    }

    // MARK: Who may have a place

    private mutating func take(
        _ node: NodeAnnouncement, _ waiter: Waiter, at now: ContinuousClock.Instant
    ) -> Grant {
        lastHold += 1
        held[lastHold] = Hold(node: node.id, kind: waiter.kind, since: now)
        used[node.id, default: 0] += 1
        return Grant(hold: lastHold, waiter: waiter, node: node)
    }

    /// Nodes that a turn of that kind may go to, the least used first.
    private func open(to kind: Turn.Kind) -> [NodeAnnouncement] {
        nodes.filter { mayTake($0, as: kind) }.map { (node: $0, usage: usage($0)) }
            .sorted { ($0.usage, $0.node.id) < ($1.usage, $1.node.id) }.map(\.node)
    }

    /// Whether a turn of that kind may go to the node. Batch is for capacity that nobody else wants.
    private func mayTake(_ node: NodeAnnouncement, as kind: Turn.Kind) -> Bool {
        guard avoided[node.id] == nil else { return false }
        let share = share(of: node, as: kind)
        let (used, loan) = (used[node.id, default: 0], loans[node.id, default: 0])
        guard kind == .batch else { return share.mayTake(used: used, loan: loan) }
        guard !peers.contains(where: \.hasInteractiveTurnsWaiting) else { return false }
        return share.mayTake(used: used, loan: loan, reserve: share.reserve)
    }

    private func share(of node: NodeAnnouncement, as kind: Turn.Kind) -> PlaceShare {
        PlaceShare(
            places: node.maximumSequences.asPlaces, own: name,
            peers: peers.map { peer in
                PlaceShare.Peer(
                    id: peer.id, used: peer.used[node.id, default: 0].asPlaces,
                    waiting: kind == .batch
                        ? peer.waitingTurns : peer.waiting.stream.turns + peer.waiting.chat.turns)
            })
    }

    /// Turns at a node for each place: what it announced, or what the orchestrators have sent since, whichever is more.
    private func usage(_ node: NodeAnnouncement) -> Double {
        let sent = peers.reduce(used[node.id, default: 0]) { $0 + $1.used[node.id, default: 0].asPlaces }
        return Double(max(node.running.asPlaces + node.waiting.asPlaces, sent))
            / Double(max(node.maximumSequences.asPlaces, 1))
    }
}

extension Int {
    /// A number out of an announcement, which may say anything, as one of places.
    fileprivate var asPlaces: Int { Swift.min(Swift.max(self, 0), 1_000_000) }
}
