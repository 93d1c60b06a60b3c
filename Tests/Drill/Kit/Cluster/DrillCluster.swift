import Foundation
import ServiceHarness
import TestServers

/// Two of every service on servers of the drill's own, every connection by way of the proxy.
public final class DrillCluster: Sendable {
    public enum Engine: Sendable {
        case llama
        /// Milliseconds to the first token and between tokens.
        case simulated(ttft: Int, itl: Int)
    }

    let proxy: TCPProxy
    let redis: ServerHandle<RedisEndpoint>
    let rabbit: ServerHandle<RabbitEndpoint>
    let shards: [ServerHandle<PostgresEndpoint>]
    let links: [LinkName: TCPProxy.Link]
    let slots: [ServiceName: ServiceSlot]
    /// For programs of the drill's own: past the proxy.
    let environment: [String: String]
    public let key: String
    /// Of the same tenant; its turns may be hedged.
    let premiumKey: String
    public let folder: String
    private let keepers: [ServiceName: Task<Void, any Error>]

    /// What the services are told besides where their servers are. Clients of the drill notice three missed heartbeats.
    private static let settings = [
        "PATH": "/usr/bin:/bin", "MODEL_NAME": "test-model", "MAX_CONCURRENT": "16", "ENGINE_KV_BLOCKS": "1024",
        "ENGINE_THREADS": "1", "RATE_LIMIT_CHAT": "0", "RATE_LIMIT_STREAM": "0", "RATE_LIMIT_ASYNC": "0",
        "RATE_LIMIT_TENANT": "0", "GATEWAY_HEARTBEAT": "1s", "TURN_HEDGE_BUDGET": "30", "LOG_LEVEL": "info",
    ].merging(ServiceProcess.freeOperatorPorts) { own, _ in own }

    /// Room for its append-only file and a rewrite of it.
    private static let redisDiskMiB = 512

    /// The ports on which the clients reach the gateways.
    var gatewayPorts: [Int] { [1, 2].compactMap { links[.clients(gateway: $0)]?.port } }

    /// Starts everything and waits until both gateways say healthy.
    public init(_ engine: Engine, settings: [String: String] = [:]) async throws {
        async let redisStart = TestServers.startRedis(
            diskMiB: TestServers.canHaveDisks ? DrillCluster.redisDiskMiB : nil, hasClock: true)
        async let rabbitStart = TestServers.startRabbit()
        async let firstShard = TestServers.startPostgres(databases: ["shard"], persistent: true)
        async let secondShard = TestServers.startPostgres(databases: ["shard"], persistent: true)
        let (redis, rabbit, shards) = try await (redisStart, rabbitStart, [firstShard, secondShard])
        let proxy = try TCPProxy()
        let folder = FileManager.default.temporaryDirectory.appending(path: "switchboard-drill-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        func target(_ server: ServerName) -> Int {
            switch server {
            case .broker: rabbit.endpoint.port
            case .redis: redis.endpoint.port
            case .shard(let index): shards[index].endpoint.port
            }
        }
        func environment(_ port: (ServerName) -> Int) -> [String: String] {
            let broker = rabbit.endpoint
            let databases = shards.indices.map { index in
                let endpoint = shards[index].endpoint
                return "postgresql://\(endpoint.user):\(endpoint.password)@127.0.0.1:\(port(.shard(index)))/shard"
            }
            let places = [
                "MODEL_PATH": TestModel.path, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "\(port(.redis))",
                "REDIS_PASSWORD": redis.endpoint.password, "DATABASE_SHARDS": databases.joined(separator: ","),
                "RABBITMQ_URI":
                    "amqp://\(broker.user):\(broker.password)@127.0.0.1:\(port(.broker))/\(broker.virtualHost)",
            ]
            return DrillCluster.settings.merging(places) { _, new in new }.merging(settings) { _, new in new }
        }
        let direct = environment(target)
        _ = try await Executable.output("switchboard", ["migrate"], environment: direct)
        key = try await Executable.output("switchboard", ["keys", "create", "--name", "drill"], environment: direct)
        premiumKey = try await Executable.output(
            "switchboard", ["keys", "create", "--name", "drill-premium", "--tier", "premium"], environment: direct)

        var links: [LinkName: TCPProxy.Link] = [:]
        var slots: [ServiceName: ServiceSlot] = [:]
        for name in ServiceName.all {
            var own: [ServerName: Int] = [:]
            for server in [ServerName.broker, .redis, .shard(0), .shard(1)] {
                let link = try proxy.link(to: target(server))
                links[.service(name, server)] = link
                own[server] = link.port
            }
            var variables = environment { own[$0] ?? 0 }
            if name.kind == .gateway {
                let port = try freePort()
                variables["GATEWAY_PORT"] = "\(port)"
                links[.clients(gateway: name.number)] = try proxy.link(to: port)
            }
            slots[name] = ServiceSlot(
                name, arguments: name.kind == .node ? engine.arguments : [], environment: variables,
                clock: try await SteppedClock(in: folder), folder: folder)
        }
        keepers = slots.mapValues { slot in Task { try await slot.run() } }
        (self.proxy, self.redis, self.rabbit, self.shards) = (proxy, redis, rabbit, shards)
        (self.links, self.slots, self.folder, self.environment) = (links, slots, folder, direct)
        try await waitUntilHealthy(within: .seconds(60))
    }

    /// Both gateways answer that every component is up.
    func waitUntilHealthy(within limit: Duration) async throws {
        for port in gatewayPorts {
            try await eventually("the gateway on port \(port) is healthy", within: limit, or: { self.logEnds }) {
                try await Door(port: port, key: self.key).get("/health", key: nil).status == 200
            }
        }
    }

    /// Ends every service in order, from the door to the back of the house.
    func retireServices() async {
        for kind in [ServiceName.Kind.gateway, .orchestrator, .worker, .node] {
            let names = ServiceName.all.filter { $0.kind == kind }
            names.forEach { slots[$0]?.retire() }
            for name in names { try? await keepers[name]?.value }
        }
    }

    /// Ends everything at once.
    public func stop() async {
        for slot in slots.values {
            slot.retire()
            slot.signal(SIGKILL)
        }
        for keeper in keepers.values { try? await keeper.value }
        proxy.stop()
        try? await redis.stop()
        try? await rabbit.stop()
        for shard in shards { try? await shard.stop() }
    }

    public func removeFolder() { try? FileManager.default.removeItem(atPath: folder) }

    var logEnds: String {
        slots.values.map { "--- \($0.name)\n\($0.log.suffix(800))" }.joined(separator: "\n")
    }
}

/// One gateway, as a client reaches it.
struct Door: GatewayClient {
    let port: Int
    let key: String
    var url: String { "http://127.0.0.1:\(port)" }
}

extension DrillCluster.Engine {
    fileprivate var arguments: [String] {
        switch self {
        case .llama: ["serve"]
        case .simulated(let ttft, let itl):
            ["serve", "--engine", "simulated", "--ttft-ms", "\(ttft)", "--itl-ms", "\(itl)"]
        }
    }
}
