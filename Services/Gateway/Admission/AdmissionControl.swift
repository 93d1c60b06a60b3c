import ChatCore
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import Synchronization

/// Keeps `Admission` informed of the cluster's load, asks it about every new turn, and takes from the turn what the load
/// demands.
final class AdmissionControl: Service {
    private static let interval: Duration = .milliseconds(250)
    /// The broker is asked less often: what it has not given out yet is little as long as orchestrators live.
    private static let brokerInterval: Duration = .seconds(1)
    /// Turns that still wait at the broker are an estimate's smaller part: an answer of this age is good enough.
    private static let brokerFreshness: Duration = .seconds(5)

    private struct Queued {
        var turns = ByKind(repeating: 0)
        var at: ContinuousClock.Instant?
    }

    private let ladder: DegradationLadder
    private let loads: LoadDirectory
    private let nodes: NodeDirectory
    private let outstanding: OutstandingTurns
    private let inspector: QueueInspector
    /// nil when no answers are shared.
    private let answers: SharedAnswers?
    private let logger: Logger
    private let admission: Mutex<Admission>
    private let queued = Mutex(Queued())
    /// The models that living nodes serve.
    private let served = Mutex<Set<String>>([])
    /// What orchestrators say of the models' contexts.
    private let contexts = Mutex<[String: [ContextBound]]>([:])

    init(
        bounds: Admission.Bounds, ladder: DegradationLadder, loads: LoadDirectory, nodes: NodeDirectory,
        outstanding: OutstandingTurns, inspector: QueueInspector, answers: SharedAnswers?, logger: Logger
    ) {
        admission = Mutex(Admission(bounds: bounds))
        self.ladder = ladder
        self.loads = loads
        self.nodes = nodes
        self.outstanding = outstanding
        self.inspector = inspector
        self.answers = ladder.answers == .off ? nil : answers
        self.logger = logger
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.repeatedly(every: AdmissionControl.interval) { await self.readLoad() } }
                group.addTask {
                    await self.repeatedly(every: AdmissionControl.brokerInterval) { await self.readQueues() }
                }
            }
        }
    }

    /// What of a request its turn does not say.
    struct Asked: Sendable {
        let namesModel: Bool
        /// Temperature 0, or a seed of the client's: the same request has the same answer.
        let isDeterministic: Bool
    }

    /// The turn as it is accepted: as it was frozen, or degraded. It counts as waiting from now on.
    /// - Throws: `APIError` 503 with the time after which it would be accepted.
    func admit(_ turn: Turn, asked: Asked) async throws(APIError) -> Turn {
        let owner = turn.conversation.owner
        let verdict = await verdict(on: turn.kind, of: owner, tier: turn.tier ?? .standard)
        let pressure = if case .accept(let pressure) = verdict { pressure } else { Double.infinity }
        let grant = ladder.grant(
            .init(
                model: turn.model ?? "", namesModel: asked.namesModel, maxTokens: turn.sampling.maxTokens,
                continuesConversation: !turn.beginsConversation), at: pressure
        ) { model in served.withLock { $0.contains(model) } }

        let history = asked.isDeterministic ? await answers?.history(before: turn) : nil
        func sharing(_ turn: Turn) async -> Turn {
            guard let history, let key = await answers?.key(of: turn, history: history) else { return turn }
            var turn = turn
            turn.answers = AnswerUse(key: key, mayReuse: grant.mayReuseAnswer)
            return turn
        }
        // A whole answer that is there already costs nothing: better than a degraded one, and than none.
        let whole = await sharing(turn)
        if pressure >= ladder.start, let use = whole.answers, use.mayReuse,
            await answers?.contains(use.key, of: owner.tenant) == true
        {
            return whole
        }
        if case .refuse(let estimate, let retryAfter) = verdict {
            throw .overloaded(estimate: estimate, retryAfter: retryAfter)
        }
        guard let degradation = grant.degradation else { return whole }
        var degraded = turn
        degraded.model = grant.model
        degraded.sampling.maxTokens = grant.maxTokens
        degraded.degradation = degradation
        return await sharing(degraded)
    }

    /// What is known of the model's context; nothing while no orchestrator says.
    func contexts(of model: String) -> [ContextBound] { contexts.withLock { $0[model] ?? [] } }

    private func verdict(on kind: Turn.Kind, of user: UserKey, tier: Tier) async -> Admission.Verdict {
        // The user's own turns are counted at Redis; a trip that is spared while they cannot matter.
        let isCalm = admission.withLock { $0.isCalm(kind, of: user, tier: tier, below: ladder.start, at: .now) }
        let own = isCalm ? 0 : (try? await outstanding.count(of: user)) ?? 0
        return admission.withLock { admission in
            let verdict = admission.decide(kind, of: user, tier: tier, own: own, at: .now)
            if case .accept = verdict { admission.noteAccepted(kind, of: user, at: .now) }
            return verdict
        }
    }

    private func repeatedly(every interval: Duration, _ body: () async -> Void) async {
        while !Task.isCancelled {
            await body()
            try? await Task.sleep(for: interval)
        }
    }

    private func readLoad() async {
        let asked = ContinuousClock.now
        do throws(RedisError) {
            let orchestrators = try await loads.loads()
            let models = Set(try await nodes.nodes().map(\.model))
            served.withLock { $0 = models }
            let bounds = orchestrators.flatMap { $0.contexts ?? [:] }
            contexts.withLock { $0 = Dictionary(grouping: bounds, by: \.key).mapValues { $0.map(\.value) } }
            let queued = queued.withLock { queued in
                queued.at.map { asked - $0 < AdmissionControl.brokerFreshness } == true
                    ? queued.turns : ByKind(repeating: 0)
            }
            admission.withLock { $0.observe(ClusterLoad(orchestrators, queued: queued), at: asked) }
        } catch {
            // Without Redis no turn is accepted anyway.
            logger.debug("the load cannot be read", metadata: ["error": "\(error)"])
        }
    }

    private func readQueues() async {
        do throws(RabbitError) {
            let statistics = try await inspector.statistics(of: Turn.Kind.byUrgency.map(Topology.queue(for:)))
            var turns = ByKind(repeating: 0)
            for kind in Turn.Kind.byUrgency { turns[kind] = statistics[Topology.queue(for: kind)]?.messages ?? 0 }
            queued.withLock { $0 = Queued(turns: turns, at: .now) }
        } catch {
            logger.debug("the queues cannot be counted", metadata: ["error": "\(error)"])
        }
    }
}
