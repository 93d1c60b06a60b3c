/// One thing that goes wrong, at whom, for how long.
public struct Fault: Sendable, Equatable {
    public let kind: Kind
    public let target: Target
    /// From the beginning of the drill.
    public let at: Duration
    /// How long it lasts; zero for what is over at once.
    public let length: Duration
    /// Of a slow link.
    public var delay: Duration = .zero
    public var bytesPerSecond = 0
    /// Of a clock: where it stands from the machine's.
    public var step: Duration = .zero

    public enum Kind: String, Sendable, CaseIterable {
        case kill = "process killed"
        case killTwo = "two processes killed"
        case stop = "process stopped"
        case drain = "process drained"
        case serviceClock = "service's clock stepped"
        case brokerRestart = "broker restarted"
        case brokerPause = "broker stopped"
        case brokerMemory = "broker's memory alarm"
        case brokerDisk = "broker's disk alarm"
        case redisRestart = "Redis restarted"
        case redisLoss = "Redis emptied"
        case redisPause = "Redis stopped"
        case redisBusy = "Redis busy with a script"
        case redisLonely = "Redis without its replicas"
        case redisReplica = "Redis a replica"
        case redisFull = "Redis out of memory"
        case redisDisk = "Redis' disk full"
        case redisClock = "Redis' clock stepped"
        case shardOutage = "shard down"
        case shardPause = "shard stopped"
        case shardReadOnly = "shard read-only"
        case cut = "link cut"
        case slow = "link slow"
        case silent = "link silent"
        case refusing = "link refused"
    }

    public enum Target: Sendable, Hashable, CustomStringConvertible {
        case service(ServiceName)
        case services(ServiceName, ServiceName)
        case broker
        case redis
        case shard(Int)
        /// Between a service and a server, or between the clients and a gateway.
        case link(LinkName)

        public var description: String {
            switch self {
            case .service(let name): name.description
            case .services(let first, let second): "\(first) and \(second)"
            case .broker: "rabbitmq"
            case .redis: "redis"
            case .shard(let index): "shard\(index)"
            case .link(let link): link.description
            }
        }

        /// What it takes up: two faults that share a part do not coincide.
        var parts: [Target] {
            if case .services(let first, let second) = self { [.service(first), .service(second)] } else { [self] }
        }
    }
}

/// One of the cluster's processes.
public struct ServiceName: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        case gateway, orchestrator
        case node = "inference-node"
        case worker = "queue-worker"
    }

    public let kind: Kind
    /// 1 or 2.
    public let number: Int

    public var description: String { "\(kind.rawValue)-\(number)" }

    public static let all = Kind.allCases.flatMap { kind in [1, 2].map { ServiceName(kind: kind, number: $0) } }
}

public enum ServerName: Sendable, Hashable, CustomStringConvertible {
    case broker, redis
    case shard(Int)

    public var description: String {
        switch self {
        case .broker: "rabbitmq"
        case .redis: "redis"
        case .shard(let index): "shard\(index)"
        }
    }
}

public enum LinkName: Sendable, Hashable, CustomStringConvertible {
    case clients(gateway: Int)
    case service(ServiceName, ServerName)

    public var description: String {
        switch self {
        case .clients(let gateway): "clients to gateway-\(gateway)"
        case .service(let service, let server): "\(service) to \(server)"
        }
    }

    /// Every link that something travels on: nodes know no shard.
    public static let all: [LinkName] =
        [.clients(gateway: 1), .clients(gateway: 2)]
        + ServiceName.all.flatMap { service -> [LinkName] in
            let shards: [ServerName] = service.kind == .node ? [] : [.shard(0), .shard(1)]
            return ([.broker, .redis] + shards).map { .service(service, $0) }
        }
}
