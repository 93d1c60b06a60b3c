import Logging
import RabbitQueue
import RedisStore

/// Being seen, and looking after whom the work is for.
extension NodeServer {
    private static let heartbeat: Duration = .milliseconds(300)
    /// Longer than anybody waits for a beat; who reads the list only is told of a death after it.
    private static let lifetime: Duration = .milliseconds(1800)
    /// A pause of this process after which everybody has given it up.
    private static let givenUp: Duration = .milliseconds(1500)
    /// How often orchestrators are looked after, and how many misses in a row mean death; they beat every second.
    private static let orchestratorCheck: Duration = .seconds(1)
    private static let missesOfTheDead = 3
    private static let deadlineCheck: Duration = .milliseconds(250)

    func isHanging(tokenDeadline: Duration) -> Bool {
        announcer.isHanging(jobs: work, tokenDeadline: tokenDeadline)
    }

    func announce() async {
        let directory = NodeDirectory(pool: redis)
        while !Task.isCancelled {
            do throws(RedisError) {
                // Only a node whose queue stands can take jobs.
                if isConnected {
                    let (jobs, isDraining) = (work, isDraining.load(ordering: .acquiring))
                    try await directory.announce(
                        announcer.next(jobs: jobs, isDraining: isDraining), ttl: NodeServer.lifetime)
                }
            } catch {
                logger.warning("the node cannot be announced", metadata: ["error": "\(error)"])
            }
            let before = ContinuousClock.now
            try? await Task.sleep(for: NodeServer.heartbeat)
            if before.duration(to: .now) > NodeServer.heartbeat + NodeServer.givenUp { dropAll() }
        }
    }

    /// This process stood still (SIGSTOP, a machine that slept) for so long that its turns have gone on elsewhere. What
    /// it would still send is of old attempts and read by nobody.
    private func dropAll() {
        let requests = table.withLock { $0.all }
        logger.notice("the node stood still; its jobs are dropped", metadata: ["jobs": "\(requests.count)"])
        requests.forEach(engine.engine.cancel)
    }

    /// Nobody wants tokens after the deadline, and whoever ordered them may be unable to say so.
    func watchDeadlines() async {
        let clock = RedisClock(pool: redis)
        while (try? await Task.sleep(for: NodeServer.deadlineCheck)) != nil {
            guard table.withLock({ $0.count }) > 0, let now = try? await clock.now() else { continue }
            let requests = table.withLock { $0.expired(at: now) }
            guard !requests.isEmpty else { continue }
            logger.info("jobs past their deadline are dropped", metadata: ["jobs": "\(requests.count)"])
            requests.forEach(engine.engine.cancel)
        }
    }

    /// Work for an orchestrator that has died is work for nobody: whoever took its turns orders them anew.
    func watchOrchestrators() async {
        let presence = Presence(pool: redis)
        // A Redis that was emptied has forgotten the living too, until their next beat: one miss proves nothing.
        var misses: [String: Int] = [:]
        while (try? await Task.sleep(for: NodeServer.orchestratorCheck)) != nil {
            let orchestrators = table.withLock { $0.orchestrators }
            misses = misses.filter { orchestrators.contains($0.key) }
            for orchestrator in orchestrators {
                guard let isAlive = try? await presence.isAlive(kind: "orchestrator", id: orchestrator) else {
                    continue
                }
                misses[orchestrator] = isAlive ? 0 : misses[orchestrator, default: 0] + 1
                if misses[orchestrator, default: 0] >= NodeServer.missesOfTheDead { drop(orchestrator) }
            }
        }
    }

    private func drop(_ orchestrator: String) {
        let requests = table.withLock { $0.requests(of: orchestrator) }
        logger.notice(
            "work of a dead orchestrator is dropped",
            metadata: ["orchestrator": "\(orchestrator)", "jobs": "\(requests.count)"])
        requests.forEach(engine.engine.cancel)
    }
}
