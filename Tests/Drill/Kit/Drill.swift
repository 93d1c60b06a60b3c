import AsyncHTTPClient
import ChatCore
import Foundation
import ServiceHarness
import TestServers

/// A whole drill: the same turns without and with disturbance, and everything that must be the same afterwards.
public struct Drill: Sendable {
    public struct Options: Sendable {
        public var seed: UInt64 = 1
        public var turns = 300
        /// How long faults go on.
        public var length: Duration = .seconds(300)
        public var engine: DrillCluster.Engine = .llama
        public var tokens = 8...96
        public var intensity = FaultSchedule.Intensity()
        /// Keeps the services' logs also when everything holds.
        public var keepsLogs = false

        public init() {}
    }

    /// How long after the last fault every turn must have ended, and everything that waits be done.
    private static let patience: Duration = .seconds(120)
    private static let width = 24

    let options: Options
    let say: @Sendable (String) -> Void

    public init(_ options: Options, say: @escaping @Sendable (String) -> Void) {
        self.options = options
        self.say = say
    }

    public func run() async throws -> Report {
        let plan = TurnPlan(
            turns: options.turns, span: options.length * 0.85, tokens: options.tokens, seed: options.seed)
        var intensity = options.intensity
        if !TestServers.canHaveDisks { intensity.kinds.removeAll { $0 == .redisDisk } }
        let schedule = FaultSchedule(span: options.length, intensity: intensity, seed: options.seed)
        say(
            "seed \(options.seed): \(plan.turns.count) turns, \(schedule.faults.count) faults in \(options.length.inSeconds)"
        )
        let cluster = try await DrillCluster(options.engine)
        let clients = DrillClient.clients()
        do {
            let report = try await run(plan, schedule, on: cluster, clients)
            await cluster.stop()
            try await clients.quick.shutdown()
            try await clients.slow.shutdown()
            if report.violations.isEmpty, !options.keepsLogs { cluster.removeFolder() }
            return report
        } catch {
            await cluster.stop()
            try await clients.quick.shutdown()
            try await clients.slow.shutdown()
            say("the logs are in \(cluster.folder)")
            throw error
        }
    }

    private func run(
        _ plan: TurnPlan, _ schedule: FaultSchedule, on cluster: DrillCluster,
        _ clients: (quick: HTTPClient, slow: HTTPClient)
    ) async throws -> Report {
        func player(_ prefix: String, until patience: ContinuousClock.Instant, cancels: Bool) -> Player {
            // Turns of the second key may be hedged.
            let own = [cluster.key, cluster.premiumKey].map { key in
                DrillClient(
                    doors: cluster.gatewayPorts.map { Door(port: $0, key: key) },
                    run: "\(prefix)-\(options.seed)", patience: patience, quick: clients.quick, slow: clients.slow)
            }
            return Player(clients: own, cancels: cancels, prefix: prefix)
        }
        let began = ContinuousClock.now
        let calm = await player("calm", until: began + options.length + Drill.patience, cancels: false)
            .play(plan, from: nil, width: Drill.width)
        say("undisturbed: \(calm.count) turns in \(began.duration(to: .now).inSeconds)")

        let start = ContinuousClock.now
        let injector = FaultInjector(cluster)
        async let faults: Void = injector.run(schedule, from: start) { [say] fault in
            say(
                "\(start.duration(to: .now).inSeconds)  \(fault.kind.rawValue): \(fault.target) \(fault.length.inSeconds)"
            )
        }
        let drilled = await player("drill", until: start + options.length + Drill.patience, cancels: true)
            .play(plan, from: start, width: .max)
        await faults
        say("disturbed: \(drilled.count) turns in \(start.duration(to: .now).inSeconds)")

        var report = Report(plan: plan, options: options, injected: injector.injected, records: drilled)
        report.violations += injector.failures.map { "the harness: \($0)" }
        try await check(&report, plan, calm: calm, drilled: drilled, cluster)
        if !report.violations.isEmpty { report.logs = cluster.folder }
        return report
    }

    private func check(
        _ report: inout Report, _ plan: TurnPlan, calm: [Int: TurnRecord], drilled: [Int: TurnRecord],
        _ cluster: DrillCluster
    ) async throws {
        do {
            try await cluster.waitUntilHealthy(within: Drill.patience)
        } catch {
            report.violations.append("not healthy after the last fault: \("\(error)".prefix(200))")
        }
        let verdict = try await withLeftovers(of: cluster) { leftovers in
            // What waits is done within a bounded time; whatever is there after it is left over.
            let deadline = ContinuousClock.now + Drill.patience
            var found: [String] = []
            repeat {
                try await Task.sleep(for: .milliseconds(500))
                found = try await leftovers.inRedis() + leftovers.atNodes() + leftovers.inQueues()
                // What a worker holds is in no queue's count.
                found += try await leftovers.unsettled(drilled.values.compactMap(\.ids.last))
            } while !found.isEmpty && ContinuousClock.now < deadline
            await cluster.retireServices()
            found += try await leftovers.inQueues() + leftovers.inDirectory()
            report.violations += found
            let database = leftovers.database
            return Verdict(
                plan,
                calm: .init(records: calm, stored: try await StoredTurns(of: "calm", in: database)),
                drilled: .init(records: drilled, stored: try await StoredTurns(of: "drill", in: database))
            ) { database.shard(for: UserKey(tenant: "default", user: $0)).name }
        }
        report.take(verdict)
        for slot in cluster.slots.values {
            for exit in slot.exits
            where exit.ending != .exited(0) && !(exit.wasAsked && exit.ending == .killed(signal: 9)) {
                report.violations.append("\(slot.name) ended by itself: \(exit.ending)")
            }
        }
    }
}

extension Duration {
    var inSeconds: String { String(format: "%.1f s", self / .seconds(1)) }
}
