import ChatCore
import Logging
import RedisStore
import ServiceLifecycle

/// The living inference nodes, and who may use them: turns wait here, fairly, for a place at a node.
actor NodePool: Service {
    /// A place at a node; give it back with `release`.
    struct Place: Sendable {
        let node: NodeAnnouncement
        fileprivate let hold: UInt64
    }

    struct Configuration: Sendable {
        /// This orchestrator's name.
        let name: String
        var limits = NodeRoster.Limits()
        /// How long a turn waits behind more urgent ones before it counts as one of them.
        var patience = ByKind<Duration?>(stream: nil, chat: .seconds(10), batch: .seconds(60))
        /// What the models' contexts can hold of text: said with the load.
        var contexts: [String: ContextBound] = [:]
    }

    /// No living node can hold the turn as it was planned; one could hold a shorter one.
    struct PlannedTooLarge: Error {}

    /// A turn that waits for its place.
    private struct Waiting {
        let continuation: CheckedContinuation<Place, any Error>
        let kind: Turn.Kind
        let since: ContinuousClock.Instant
    }

    private static let refreshInterval: Duration = .milliseconds(200)
    /// A node that sent a turn away, or whose queue was gone, is left alone for this long.
    private static let avoidance: Duration = .seconds(1)
    /// An orchestrator that has not said for this long what it has to do has no share any more.
    private static let loadLifetime: Duration = .milliseconds(1500)

    private let directory: NodeDirectory
    private let loads: LoadDirectory
    private let meter: FirstTokenMeter
    private let metrics: TurnMetrics
    private let contexts: [String: ContextBound]
    private let logger: Logger
    /// Told the ids of nodes whose turns have to go on elsewhere.
    private let onLost: @Sendable (String) -> Void
    private var roster: NodeRoster
    private var placement: Placement
    private var waiting: [UInt64: Waiting] = [:]
    private var lastWaiter: UInt64 = 0

    init(
        configuration: Configuration, directory: NodeDirectory, loads: LoadDirectory, meter: FirstTokenMeter,
        metrics: TurnMetrics, logger: Logger, onLost: @escaping @Sendable (String) -> Void
    ) {
        self.directory = directory
        self.loads = loads
        self.meter = meter
        self.metrics = metrics
        contexts = configuration.contexts
        self.logger = logger
        self.onLost = onLost
        roster = NodeRoster(limits: configuration.limits)
        placement = Placement(name: configuration.name, patience: configuration.patience)
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.refresh()
                try? await Task.sleep(for: NodePool.refreshInterval)
            }
        }
        let (loads, name) = (loads, placement.name)
        await Task { try? await loads.withdraw(name) }.value
    }

    /// A place at another node than `other` that is free now and that no turn waits for.
    func freePlace(for turn: Turn, _ plan: TurnPlan, besides other: String) -> Place? {
        placement.takeFree(waiter(turn, plan), besides: other, at: .now)
            .map { Place(node: $0.node, hold: $0.hold) }
    }

    /// Waits for a place at a node of the turn's model that can hold the plan, of its numerics id if it has one.
    /// - Throws: `PlannedTooLarge` for a plan that has none yet, when it is to be made anew; `CancellationError`.
    func place(for turn: Turn, _ plan: TurnPlan) async throws -> Place {
        let waiter = waiter(turn, plan)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume(throwing: CancellationError()) }
                waiting[waiter.id] = Waiting(continuation: continuation, kind: turn.kind, since: .now)
                placement.wait(waiter, at: .now)
                admit()
            }
        } onCancel: {
            Task { await self.leave(waiter.id) }
        }
    }

    func release(_ place: Place) {
        placement.release(place.hold, at: .now)
        admit()
    }

    /// What the living nodes can hold of the turn; nil while there are none for it.
    func capacity(for turn: Turn, numericsID: String? = nil) -> NodeCapacity? {
        placement.capacity(model: turn.model, numericsID: numericsID)
    }

    /// Leaves a node alone for a moment.
    func avoid(_ node: String) { placement.avoid(node, until: .now + NodePool.avoidance) }

    /// Where each waiting stream stands.
    var waits: [TurnID: TurnWait] { placement.waits(firstTokenSeconds: meter.seconds, at: .now) }

    private func waiter(_ turn: Turn, _ plan: TurnPlan) -> Placement.Waiter {
        lastWaiter += 1
        return Placement.Waiter(
            id: lastWaiter, turn: turn.id, kind: turn.kind, owner: turn.conversation.owner, model: turn.model,
            numericsID: plan.numericsID, tokens: plan.tokens, shortest: plan.numericsID == nil ? plan.shortest : nil)
    }

    private func leave(_ id: UInt64) {
        guard let waiting = waiting.removeValue(forKey: id) else { return }
        placement.leave(id)
        waiting.continuation.resume(throwing: CancellationError())
    }

    private func admit() {
        for grant in placement.admit(at: .now) {
            let place = Place(node: grant.node, hold: grant.hold)
            waiting.removeValue(forKey: grant.waiter.id)?.continuation.resume(returning: place)
        }
    }

    private func tellWaiting() {
        var (counts, oldest) = (ByKind(repeating: 0), ByKind<ContinuousClock.Instant?>(repeating: nil))
        for turn in waiting.values {
            counts[turn.kind] += 1
            oldest[turn.kind] = min(oldest[turn.kind] ?? turn.since, turn.since)
        }
        metrics.waiting(counts, oldest: oldest, at: .now)
    }

    private func refresh() async {
        do throws(RedisError) {
            let found = try await directory.look()
            let changes = roster.look(found.nodes, listening: found.listening, at: .now)
            placement.nodes = roster.available
            changes.forEach(report)
            var load = placement.load(firstTokenSeconds: meter.seconds, at: .now)
            load.newestDelivered = metrics.newestDelivered
            load.contexts = contexts
            try await loads.announce(load, ttl: NodePool.loadLifetime)
            placement.peers = try await loads.loads().filter { $0.id != placement.name }
        } catch {
            // The nodes known so far stay; what they send cannot arrive meanwhile anyway.
            logger.debug("nodes cannot be listed", metadata: ["error": "\(error)"])
        }
        placement.age(at: .now)
        for waiter in placement.removeMisfits() {
            waiting.removeValue(forKey: waiter.id)?.continuation.resume(throwing: PlannedTooLarge())
        }
        admit()
        tellWaiting()
    }

    private func report(_ change: NodeRoster.Change) {
        switch change {
        case .appeared(let id): logger.info("a node has appeared", metadata: ["node": "\(id)"])
        case .lost(let id, let loss):
            logger.warning("a node is lost", metadata: ["node": "\(id)", "why": "\(loss.rawValue)"])
            onLost(id)
        }
    }
}
