import AsyncHTTPClient
import Foundation
import NIOCore
import TestServers

/// A whole cluster of real processes on real servers, in a virtual host, a Redis and databases of its own.
final class Cluster: Sendable {
    enum EngineKind: Sendable {
        case llama
        /// Milliseconds to the first token and between tokens.
        case simulated(ttft: Int, itl: Int)
    }

    let environment: [String: String]
    let key: String
    let port: Int
    let shards: [String]
    let redis: ServerHandle<RedisEndpoint>
    let folder: String
    let gateway: ServiceProcess
    let orchestrator: ServiceProcess
    let worker: ServiceProcess
    let node: ServiceProcess

    /// The model that `deploy/local/setup` fetches, or the one that MODEL_PATH names.
    static let modelPath: String = {
        if let path = ProcessInfo.processInfo.environment["MODEL_PATH"], !path.isEmpty { return path }
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return root.appending(path: ".local/models/SmolLM2-135M-Instruct.Q4_1.gguf").path
    }()

    static var hasModel: Bool { FileManager.default.isReadableFile(atPath: modelPath) }

    /// Starts everything and waits until the gateway says healthy.
    init(_ engine: EngineKind, settings: [String: String] = [:]) async throws {
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
        ]
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

    /// Another process of a service, beside the first.
    func another(_ name: String, _ arguments: [String] = [], settings: [String: String] = [:]) throws -> ServiceProcess
    {
        try ServiceProcess(
            name, arguments: arguments, environment: environment.merging(settings) { _, new in new },
            logPath: "\(folder)/\(name)-2.log")
    }

    func stop() async {
        for process in [gateway, orchestrator, worker, node] { _ = await process.ended(by: SIGKILL) }
        try? await redis.stop()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// The ends of all logs, for a failure's message.
    var logs: String {
        [gateway, orchestrator, worker, node].map { "--- \($0.name)\n\($0.log.suffix(1500))" }.joined(separator: "\n")
    }

    // MARK: HTTP

    struct Answer: Sendable {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
        var json: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any]) ?? [:] }
        var error: [String: Any] { json["error"] as? [String: Any] ?? [:] }
    }

    func get(_ path: String, key: String? = "", headers: [String: String] = [:]) async throws -> Answer {
        try await send("GET", path, body: nil, key: key, headers: headers)
    }

    func post(_ path: String, _ body: [String: Any], key: String? = "") async throws -> Answer {
        try await send("POST", path, body: Array(try JSONSerialization.data(withJSONObject: body)), key: key)
    }

    /// - Parameter key: the empty string stands for the cluster's own key, nil for none.
    func send(
        _ method: String, _ path: String, body: [UInt8]?, key: String? = "", headers: [String: String] = [:]
    ) async throws -> Answer {
        let response = try await HTTPClient.shared.execute(
            request(method, path, body: body, key: key, headers: headers), timeout: .seconds(60))
        let buffer = try await response.body.collect(upTo: 16 << 20)
        return Answer(
            status: Int(response.status.code),
            headers: Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }) { first, _ in first },
            body: Array(buffer.readableBytesView))
    }

    func request(
        _ method: String, _ path: String, body: [UInt8]?, key: String? = "", headers: [String: String] = [:]
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = .RAW(value: method)
        if let key { request.headers.add(name: "X-API-Key", value: key.isEmpty ? self.key : key) }
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        return request
    }
}

/// A port that was free a moment ago.
func freePort() throws -> Int {
    let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(socket, $0, length) == 0 ? getsockname(socket, $0, &length) : -1
        }
    }
    guard status == 0 else { throw HarnessError("no port is free") }
    return Int(UInt16(bigEndian: address.sin_port))
}

/// Asks until the answer is yes; an error counts as no.
func eventually(
    _ what: String, within limit: Duration = .seconds(20), or explanation: () -> String = { "" },
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if (try? await condition()) == true { return }
        try await Task.sleep(for: .milliseconds(20))
    }
    throw HarnessError("not in time: \(what)\n\(explanation())")
}
