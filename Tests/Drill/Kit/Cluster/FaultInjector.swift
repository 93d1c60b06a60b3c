import Foundation
import Synchronization
import TestServers

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
        case .services(let first, let second):
            try await disturb(first, fault)
            try await disturb(second, fault)
        case .broker: try await disturbBroker(fault)
        case .redis: try await disturbRedis(fault)
        case .shard(let index):
            let shard = cluster.shards[index]
            guard fault.kind == .shardReadOnly else { return try await disturb(shard, fault) }
            try await lasting(fault) {
                try await shard.setReadOnly(true)
            } end: {
                try await shard.setReadOnly(false)
            }
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
        case .serviceClock:
            try await lasting(fault) {
                try slot.clock.set(off: fault.step)
            } end: {
                try slot.clock.set(off: .zero)
            }
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

    /// Makes something so for the fault's length.
    private func lasting(
        _ fault: Fault, begin: () async throws -> Void, end: () async throws -> Void
    ) async throws {
        try await begin()
        try? await Task.sleep(for: fault.length)
        try await end()
    }

    private func disturbBroker(_ fault: Fault) async throws {
        let broker = cluster.rabbit
        switch fault.kind {
        case .brokerMemory:
            try await lasting(fault) {
                try await broker.ask("set_vm_memory_high_watermark", "0.000001")
            } end: {
                try await broker.ask("set_vm_memory_high_watermark", "0.4")
            }
        case .brokerDisk:
            try await lasting(fault) {
                try await broker.ask("set_disk_free_limit", "100000GB")
            } end: {
                try await broker.ask("set_disk_free_limit", "100MB")
            }
        default: try await disturb(broker, fault)
        }
    }

    private func disturbRedis(_ fault: Fault) async throws {
        let redis = cluster.redis
        switch fault.kind {
        case .redisLoss: try await redis.restartEmptied()
        case .redisBusy:
            // On a busy machine the script may begin after it was to end: it is killed as often as it takes.
            await withTaskGroup(of: Void.self) { group in
                group.addTask { _ = try? await redis.ask("EVAL", "while true do end", "0") }
                group.addTask {
                    try? await Task.sleep(for: fault.length)
                    while !Task.isCancelled {
                        _ = try? await redis.ask("SCRIPT", "KILL")
                        try? await Task.sleep(for: .milliseconds(100))
                    }
                }
                await group.next()
                group.cancelAll()
            }
        case .redisLonely:
            try await lasting(fault) {
                try await tell(redis, "CONFIG", "SET", "min-replicas-to-write", "1")
            } end: {
                try await tell(redis, "CONFIG", "SET", "min-replicas-to-write", "0")
            }
        case .redisReplica:
            // Nobody answers at port 1: it keeps what it has, and refuses writes.
            try await lasting(fault) {
                try await tell(redis, "REPLICAOF", "127.0.0.1", "1")
            } end: {
                try await tell(redis, "REPLICAOF", "NO", "ONE")
            }
        case .redisFull:
            let bound = try await tell(redis, "CONFIG", "GET", "maxmemory").split(separator: "\n").last.map(String.init)
            try await lasting(fault) {
                try await tell(redis, "CONFIG", "SET", "maxmemory", "1")
            } end: {
                try await tell(redis, "CONFIG", "SET", "maxmemory", bound ?? "0")
            }
        case .redisDisk:
            try await lasting(fault) {
                try redis.fillDisk()
            } end: {
                try redis.freeDisk()
            }
        case .redisClock:
            try await lasting(fault) {
                try redis.setClock(off: fault.step)
            } end: {
                try redis.setClock(off: .zero)
            }
        default: try await disturb(redis, fault)
        }
    }

    /// Tells Redis something. While a script keeps it busy, which another fault began and has not ended yet, it is told again.
    @discardableResult
    private func tell(_ redis: ServerHandle<RedisEndpoint>, _ words: String...) async throws -> String {
        let patience = ContinuousClock.now + .seconds(60)
        while true {
            do {
                return try await redis.ask(words)
            } catch  where "\(error)".contains("BUSY") && .now < patience {
                try await Task.sleep(for: .milliseconds(100))
            }
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
