import ChatCore
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import Synchronization

/// Keeps `Admission` informed of the cluster's load, and asks it about every new turn.
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
    private let logger: Logger
    private let admission: Mutex<Admission>
    private let queued = Mutex(Queued())
    /// The models that living nodes serve.
    private let served = Mutex<Set<String>>([])

    init(
        bounds: Admission.Bounds, ladder: DegradationLadder, loads: LoadDirectory, nodes: NodeDirectory,
        outstanding: OutstandingTurns, inspector: QueueInspector, logger: Logger
    ) {
        admission = Mutex(Admission(bounds: bounds))
        self.ladder = ladder
        self.loads = loads
        self.nodes = nodes
        self.outstanding = outstanding
        self.inspector = inspector
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

    /// The verdict on a new turn; one that is accepted counts as waiting from now on.
    func verdict(on kind: Turn.Kind, of user: UserKey, tier: Tier) async -> Admission.Verdict {
        // The user's own turns are counted at Redis; a trip that is spared while they cannot matter.
        let isCalm = admission.withLock { $0.isCalm(kind, of: user, tier: tier, below: ladder.start, at: .now) }
        let own = isCalm ? 0 : (try? await outstanding.count(of: user)) ?? 0
        return admission.withLock { admission in
            let verdict = admission.decide(kind, of: user, tier: tier, own: own, at: .now)
            if case .accept = verdict { admission.noteAccepted(kind, of: user, at: .now) }
            return verdict
        }
    }

    func grant(_ request: DegradationLadder.Request, at pressure: Double) -> DegradationLadder.Grant {
        ladder.grant(request, at: pressure) { model in served.withLock { $0.contains(model) } }
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
