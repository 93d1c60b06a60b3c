import Foundation
import Synchronization

/// Does to the cluster what the schedule says, and remembers when it was done.
final class FaultInjector: Sendable {
    /// A fault as it was: on the continuous clock.
    struct Injected: Sendable {
        let fault: Fault
        let from: ContinuousClock.Instant
        let until: ContinuousClock.Instant
    }

    private let cluster: DrillCluster
    private let record = Mutex<(injected: [Injected], failures: [String])>(([], []))

    init(_ cluster: DrillCluster) { self.cluster = cluster }

    var injected: [Injected] { record.withLock { $0.injected } }
    /// What the harness itself could not do.
    var failures: [String] { record.withLock { $0.failures } }

    /// Runs a schedule whose beginning is `start`; returns when the last fault is over.
    func run(
        _ schedule: FaultSchedule, from start: ContinuousClock.Instant, onFault: @escaping @Sendable (Fault) -> Void
    )
        async
    {
        await withDiscardingTaskGroup { group in
            for fault in schedule.faults {
                group.addTask {
                    guard (try? await Task.sleep(until: start + fault.at, clock: .continuous)) != nil else { return }
                    onFault(fault)
                    await self.inject(fault)
                }
            }
        }
    }

    func inject(_ fault: Fault) async {
        let from = ContinuousClock.now
        do {
            try await carryOut(fault)
        } catch {
            record.withLock { $0.failures.append("\(fault.kind.rawValue), \(fault.target): \(error)") }
        }
        record.withLock { $0.injected.append(Injected(fault: fault, from: from, until: .now)) }
    }

    private func carryOut(_ fault: Fault) async throws {
        switch fault.target {
        case .service(let name): try await disturb(name, fault)
        case .broker: try await disturb(cluster.rabbit, fault)
        case .redis:
            if fault.kind == .redisLoss {
                try await cluster.redis.restartEmptied()
            } else {
                try await disturb(cluster.redis, fault)
            }
        case .shard(let index): try await disturb(cluster.shards[index], fault)
        case .link(let name): try await disturb(name, fault)
        }
    }

    private func disturb(_ name: ServiceName, _ fault: Fault) async throws {
        guard let slot = cluster.slots[name] else { return }
        switch fault.kind {
        case .stop:
            slot.signal(SIGSTOP)
            defer { slot.signal(SIGCONT) }
            try await Task.sleep(for: fault.length)
        case .drain: slot.signal(SIGTERM)
        default: slot.signal(SIGKILL)
        }
    }

    private func disturb(_ server: some Breakable, _ fault: Fault) async throws {
        switch fault.kind {
        case .brokerPause, .redisPause, .shardPause:
            try await server.pause()
            try? await Task.sleep(for: fault.length)
            try await server.resume()
        default:
            try await server.kill()
            try? await Task.sleep(for: fault.length)
            try await server.restart()
        }
    }

    private func disturb(_ name: LinkName, _ fault: Fault) async throws {
        guard let link = cluster.links[name] else { return }
        let weather: Weather
        switch fault.kind {
        case .slow: weather = .slow(delay: fault.delay, bytesPerSecond: fault.bytesPerSecond)
        case .silent: weather = .silent
        case .refusing: weather = .refusing
        default: return cluster.proxy.cut(link)
        }
        cluster.proxy.set(weather, on: link)
        defer { cluster.proxy.set(.clear, on: link) }
        try await Task.sleep(for: fault.length)
    }
}
