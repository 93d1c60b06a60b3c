import AsyncHTTPClient
import ChatCore
import Foundation
import ServiceHarness
import Synchronization

/// Measures how long streams fall silent at each kind of death: one fault at a time, a cluster that has recovered before each.
public struct PauseMeasurement: Sendable {
    /// Of one kind of fault: for each time it was made, the longest silence of any stream.
    public struct Result: Sendable {
        public let what: String
        public let pauses: [Duration]

        public var median: Duration { pauses.sorted()[pauses.count / 2] }
        public var longest: Duration { pauses.max() ?? .zero }
    }

    public var repetitions = 5
    public var streams = 12
    public var engine: DrillCluster.Engine = .simulated(ttft: 20, itl: 25)
    public var seed: UInt64 = 1

    /// How long a stopped process or a server stays stopped.
    /// Longer than the broker waits for the heartbeats of a stopped consumer.
    private static let stopped: Duration = .seconds(14)
    /// Between two rounds: until what the services say of their load is of now, and turns go to both nodes again.
    private static let rest: Duration = .seconds(3)
    /// Streams run this long after a fault has ended; whatever pause comes from it has ended then.
    private static let aftermath: Duration = .seconds(7)

    public init() {}

    public func run(say: @escaping @Sendable (String) -> Void) async throws -> [Result] {
        let cluster = try await DrillCluster(engine)
        let (quick, slow) = DrillClient.clients()
        let client = DrillClient(
            doors: cluster.gatewayPorts.map { Door(port: $0, key: cluster.key) }, run: "pauses-\(seed)",
            patience: .now + .seconds(3600), quick: quick, slow: slow)
        do {
            let results = try await measure(client, cluster, say)
            try await close(quick, slow, cluster)
            cluster.removeFolder()
            return results
        } catch {
            say("the logs are in \(cluster.folder)")
            try await close(quick, slow, cluster)
            throw error
        }
    }

    private func close(_ quick: HTTPClient, _ slow: HTTPClient, _ cluster: DrillCluster) async throws {
        await cluster.stop()
        try await quick.shutdown()
        try await slow.shutdown()
    }

    private func measure(
        _ client: DrillClient, _ cluster: DrillCluster, _ say: @Sendable (String) -> Void
    ) async throws -> [Result] {
        var results: [Result] = []
        for (number, (what, faults)) in Self.kinds(repetitions).enumerated() {
            var pauses: [Duration] = []
            for (round, fault) in faults.enumerated() {
                var own = client
                own.run += "-\(number)-\(round)"
                pauses.append(try await longestPause(fault, own, cluster))
            }
            let result = Result(what: what, pauses: pauses)
            say("\(what): median \(result.median.inSeconds), longest \(result.longest.inSeconds)")
            results.append(result)
        }
        return results
    }

    private static func kinds(_ repetitions: Int) -> [(String, [Fault])] {
        func faults(_ kind: Fault.Kind, _ length: Duration, _ target: (Int) -> Fault.Target) -> [Fault] {
            (0..<repetitions).map { Fault(kind: kind, target: target($0 % 2 + 1), at: .zero, length: length) }
        }
        var all: [[Fault]] = []
        for kind in ServiceName.Kind.allCases {
            for (fault, length) in [(Fault.Kind.kill, Duration.zero), (.stop, stopped), (.drain, .zero)] {
                // No stream passes through a worker: that none falls silent is shown by its death alone.
                guard kind != .worker || fault == .kill else { continue }
                all.append(faults(fault, length) { .service(ServiceName(kind: kind, number: $0)) })
            }
        }
        all += [
            faults(.brokerRestart, .zero) { _ in .broker }, faults(.brokerPause, .seconds(4)) { _ in .broker },
            faults(.redisRestart, .zero) { _ in .redis }, faults(.redisLoss, .zero) { _ in .redis },
            faults(.redisPause, .seconds(4)) { _ in .redis }, faults(.shardOutage, stopped) { .shard($0 - 1) },
            faults(.cut, .zero) { .link(.clients(gateway: $0)) },
        ]
        return all.compactMap { faults in faults.first.map { ($0.summary, faults) } }
    }

    private func longestPause(
        _ fault: Fault, _ client: DrillClient, _ cluster: DrillCluster
    ) async throws -> Duration {
        try await cluster.waitUntilHealthy(within: .seconds(60))
        try await Task.sleep(for: Self.rest)
        let length = fault.length + Self.aftermath + .seconds(3)
        // Enough tokens to be still speaking at the end; a stream's own end is no pause.
        let tokens = Int(length / .milliseconds(25))
        let speaking = Speaking()
        let followers = (0..<streams).map { index in
            let planned = PlannedTurn(
                index: index, kind: .stream, message: "Count on.", maxTokens: tokens, temperature: 1,
                seed: UInt64(index), isEager: false)
            return Task {
                var record = TurnRecord(planned, user: "pause-\(index)")
                do {
                    try await client.begin(&record, conversation: nil)
                    try await client.follow(&record, cancels: false) { speaking.heard(from: index) }
                } catch {
                    record.violate("given up: \(error)")
                }
                return record
            }
        }
        try await eventually("every stream speaks", within: .seconds(30), or: { cluster.logEnds }) {
            speaking.count == streams
        }
        let injector = FaultInjector(cluster)
        let from = ContinuousClock.now
        await injector.inject(fault)
        guard injector.failures.isEmpty else { throw HarnessError(injector.failures.joined()) }
        var longest = Duration.zero
        for follower in followers {
            let record = await follower.value
            guard record.violations.isEmpty else { throw HarnessError(record.violations.joined(separator: "\n")) }
            for gap in record.gaps where gap.until > from { longest = max(longest, gap.length) }
        }
        return longest
    }
}

/// The streams of a round of which something was heard.
private final class Speaking: Sendable {
    private let streams = Mutex<Set<Int>>([])

    var count: Int { streams.withLock { $0.count } }

    func heard(from stream: Int) { streams.withLock { _ = $0.insert(stream) } }
}
