import SeededRandom

/// What goes wrong and when: drawn from a seed, and the same for the same seed.
public struct FaultSchedule: Sendable, Equatable {
    public let faults: [Fault]

    /// How much of it there is.
    public struct Intensity: Sendable {
        public var kinds: [Fault.Kind] = Fault.Kind.allCases
        /// Seconds from one fault to the next, on average.
        public var interval = 2.0
        /// Seconds that what lasts lasts.
        public var length: ClosedRange<Double> = 1...10

        public init() {}
    }

    /// - Parameter span: every fault begins within it and is over soon after.
    public init(span: Duration, intensity: Intensity, seed: UInt64) {
        var random = SeededGenerator(seed: seed ^ 0x6661_756C)
        var faults: [Fault] = []
        var busyUntil: [Fault.Target: Duration] = [:]
        var deck: [Fault.Kind] = []
        var time = Duration.zero
        while true {
            time += random.duration(0.2 * intensity.interval...1.8 * intensity.interval)
            guard time < span else { break }
            // A deck rather than a die: after few faults each kind has had its turn.
            if deck.isEmpty { deck = intensity.kinds.shuffled(using: &random) }
            guard let kind = deck.popLast() else { break }
            let targets = Self.targets(of: kind).filter { $0.parts.allSatisfy { (busyUntil[$0] ?? .zero) <= time } }
            guard let target = targets.randomElement(using: &random) else {
                // All of them are disturbed already: its turn comes later.
                deck.insert(kind, at: 0)
                continue
            }
            var fault = Fault(
                kind: kind, target: target, at: time, length: Self.length(of: kind, intensity, using: &random))
            if kind == .slow {
                fault.delay = .milliseconds(Int.random(in: 5...150, using: &random))
                fault.bytesPerSecond = Int.random(in: 10_000...200_000, using: &random)
            }
            if kind == .redisClock || kind == .serviceClock {
                // Deadlines go by Redis' clock, nothing by a service's own.
                fault.step = random.duration(kind == .redisClock ? 0.5...4 : 60...4000)
                // Back at the end is a step too: both ways occur each time, in either order.
                if Bool.random(using: &random) { fault.step = .zero - fault.step }
            }
            faults.append(fault)
            for part in target.parts { busyUntil[part] = time + fault.length + Self.recovery(after: kind) }
        }
        self.faults = faults
    }

    private static func targets(of kind: Fault.Kind) -> [Fault.Target] {
        switch kind {
        case .kill, .stop, .drain, .serviceClock: ServiceName.all.map(Fault.Target.service)
        case .killTwo:
            ServiceName.all.indices.flatMap { first in
                ServiceName.all[(first + 1)...].map { .services(ServiceName.all[first], $0) }
            }
        case .brokerRestart, .brokerPause, .brokerMemory, .brokerDisk: [.broker]
        case .redisRestart, .redisLoss, .redisPause, .redisBusy, .redisLonely, .redisReplica, .redisFull, .redisDisk,
            .redisClock:
            [.redis]
        case .shardOutage, .shardPause, .shardReadOnly: [.shard(0), .shard(1)]
        case .cut, .slow, .silent, .refusing: LinkName.all.map(Fault.Target.link)
        }
    }

    private static func length(
        of kind: Fault.Kind, _ intensity: Intensity, using random: inout SeededGenerator
    ) -> Duration {
        switch kind {
        case .kill, .killTwo, .drain, .brokerRestart, .redisRestart, .redisLoss, .cut: .zero
        // Beyond its time-out of two seconds every command fails anyway.
        case .redisPause, .redisBusy, .brokerPause: random.duration(0.5...min(5, intensity.length.upperBound))
        case .stop, .serviceClock, .brokerMemory, .brokerDisk, .redisLonely, .redisReplica, .redisFull, .redisDisk,
            .redisClock,
            .shardOutage, .shardPause, .shardReadOnly, .slow, .silent, .refusing:
            random.duration(intensity.length)
        }
    }

    /// Time in which a target is left alone after its fault, so that faults are not wasted on what is down already.
    private static func recovery(after kind: Fault.Kind) -> Duration {
        switch kind {
        case .kill, .killTwo, .drain: .seconds(4)
        case .brokerRestart: .seconds(20)
        // The command that lifts it takes seconds itself.
        case .brokerMemory, .brokerDisk: .seconds(8)
        case .redisRestart, .redisLoss, .redisPause, .redisBusy, .redisLonely, .redisReplica, .redisFull, .redisDisk,
            .redisClock, .brokerPause, .shardOutage, .shardPause, .shardReadOnly, .stop, .serviceClock:
            .seconds(3)
        case .cut, .slow, .silent, .refusing: .seconds(1)
        }
    }
}
