import Foundation
import Synchronization
import TestServers

/// A whole cluster of real processes on real servers, in a virtual host, a Redis and databases of its own.
public final class Cluster: GatewayClient {
    public typealias Answer = HTTPAnswer

    public enum EngineKind: Sendable {
        case llama
        /// Milliseconds to the first token and between tokens.
        case simulated(ttft: Int, itl: Int)
    }

    public let environment: [String: String]
    public let key: String
    public let port: Int
    public let shards: [String]
    public let redis: ServerHandle<RedisEndpoint>
    public let folder: String
    public let gateway: ServiceProcess
    public let orchestrator: ServiceProcess
    public let worker: ServiceProcess
    public let node: ServiceProcess
    private let others = Atomic(0)

    public static var modelPath: String { TestModel.path }
    public static var hasModel: Bool { TestModel.isThere }

    /// Starts everything and waits until the gateway says healthy.
    public init(_ engine: EngineKind, settings: [String: String] = [:]) async throws {
        let redis = try await TestServers.startRedis()
        let rabbit = try await TestServers.rabbit().freshVirtualHost()
        let shards = try await TestServers.postgres().freshDatabases(count: 2)
        let folder = FileManager.default.temporaryDirectory.appending(path: "switchboard-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let port = try freePort()
        var environment = [
            "PATH": "/usr/bin:/bin", "MODEL_PATH": Cluster.modelPath, "MODEL_NAME": "test-model",
            "MAX_CONCURRENT": "32",
            "REDIS_HOST": redis.endpoint.host, "REDIS_PORT": "\(redis.endpoint.port)",
            "REDIS_PASSWORD": redis.endpoint.password, "RABBITMQ_URI": rabbit.uri,
            "DATABASE_SHARDS": shards.joined(separator: ","), "GATEWAY_PORT": "\(port)", "LOG_LEVEL": "debug",
            "ENGINE_KV_BLOCKS": "1024", "ENGINE_THREADS": "2",
        ].merging(ServiceProcess.freeOperatorPorts) { own, _ in own }
        environment.merge(settings) { _, new in new }
        _ = try await Executable.output("switchboard", ["migrate"], environment: environment)
        key = try await Executable.output(
            "switchboard", ["keys", "create", "--name", "tests"], environment: environment)

        let variables = environment
        func start(_ name: String, _ arguments: [String] = []) throws -> ServiceProcess {
            try ServiceProcess(name, arguments: arguments, environment: variables, logPath: "\(folder)/\(name).log")
        }
        switch engine {
        case .llama: node = try start("inference-node", ["serve"])
        case .simulated(let ttft, let itl):
            node = try start(
                "inference-node", ["serve", "--engine", "simulated", "--ttft-ms", "\(ttft)", "--itl-ms", "\(itl)"])
        }
        worker = try start("queue-worker")
        orchestrator = try start("orchestrator")
        gateway = try start("gateway")
        self.redis = redis
        self.shards = shards
        self.port = port
        self.folder = folder
        self.environment = environment
        try await eventually("the cluster is healthy", within: .seconds(60), or: { self.logs }) {
            try await self.get("/health", key: nil).status == 200
        }
    }

    /// Another process of a service, beside the first, with a log of its own: what an earlier one wrote would be taken
    /// for its words.
    public func another(_ name: String, _ arguments: [String] = [], settings: [String: String] = [:]) throws
        -> ServiceProcess
    {
        let number = others.add(1, ordering: .relaxed).newValue + 1
        return try ServiceProcess(
            name, arguments: arguments, environment: environment.merging(settings) { _, new in new },
            logPath: "\(folder)/\(name)-\(number).log")
    }

    public func stop() async {
        for process in [gateway, orchestrator, worker, node] { _ = await process.ended(by: SIGKILL) }
        try? await redis.stop()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// The ends of all logs, for a failure's message.
    public var logs: String {
        [gateway, orchestrator, worker, node].map { "--- \($0.name)\n\($0.log.suffix(1500))" }.joined(separator: "\n")
    }
}
