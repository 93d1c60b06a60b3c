import Foundation

/// Real servers for tests: RabbitMQ, Redis, PostgreSQL and nginx on free ports of 127.0.0.1, in a temporary folder.
///
/// `redis()`, `rabbit()` and `postgres()` give instances that the whole test process shares, started by whoever asks first.
/// They keep nothing over a restart of theirs and are never to be stopped by a test; a test that kills, pauses or restarts
/// its server starts one of its own with `startRedis()`, `startRabbit()` or `startPostgres()`. Everything ends with the test
/// process, however that ends (see ``ServerFolder``).
public enum TestServers {
    /// The shared Redis. Isolate tests by key prefixes of their own.
    public static func redis() async throws -> RedisEndpoint {
        try await SharedServers.current.redis().endpoint
    }

    /// The shared RabbitMQ, on its default virtual host. Isolate tests with ``RabbitEndpoint/freshVirtualHost()``.
    public static func rabbit() async throws -> RabbitEndpoint {
        try await SharedServers.current.rabbit().endpoint
    }

    /// The shared PostgreSQL with two databases, `shard0` and `shard1`. Isolate tests with
    /// ``PostgresEndpoint/freshDatabases(count:)``.
    public static func postgres() async throws -> PostgresEndpoint {
        try await SharedServers.current.postgres().endpoint
    }

    /// A Redis of the caller's own.
    /// - Parameters:
    ///   - persistent: keeps an append-only file, so that the data survive ``ServerHandle/restart()``; without it a restart is
    ///     a loss of all data.
    ///   - diskMiB: the size of a disk of its own, to be filled with ``ServerHandle/fillDisk()``; for root only.
    ///   - hasClock: has a clock of its own, to be set with ``ServerHandle/setClock(off:)``.
    public static func startRedis(
        persistent: Bool = true, diskMiB: Int? = nil, hasClock: Bool = false
    ) async throws -> ServerHandle<RedisEndpoint> {
        var options = persistent ? [] : ["--volatile"]
        if let diskMiB { options += ["--disk", "\(diskMiB)"] }
        if hasClock { options.append("--clock") }
        return try await ServerHandle(kind: "redis", options: options) { settings, _ in try RedisEndpoint(settings) }
    }

    /// Whether a server can have a disk of its own: file systems are mounted by root.
    public static var canHaveDisks: Bool { geteuid() == 0 }

    /// A RabbitMQ of the caller's own (up in about 5 s).
    /// - Parameter virtualHosts: how many ``RabbitEndpoint/freshVirtualHost()`` gives at once, each about 20 ms of the start.
    public static func startRabbit(virtualHosts: Int = 0) async throws -> ServerHandle<RabbitEndpoint> {
        let supply = VirtualHostSupply(prepared: virtualHosts)
        return try await ServerHandle(kind: "rabbitmq", options: ["--vhosts", String(virtualHosts)]) {
            settings, folder in
            try RabbitEndpoint(settings, folder: folder, supply: supply)
        }
    }

    /// A PostgreSQL of the caller's own.
    /// - Parameters:
    ///   - databases: their names; ``PostgresEndpoint/shards`` lists them in this order.
    ///   - persistent: what was committed survives ``ServerHandle/kill()``; without it the last of it may be lost.
    ///   - diskMiB: the size of a disk for tablespaces (``ServerHandle/disk``), to be filled with
    ///     ``ServerHandle/fillDisk()``; for root only.
    public static func startPostgres(
        databases: [String] = ["shard0", "shard1"], persistent: Bool = false, diskMiB: Int? = nil
    ) async throws -> ServerHandle<PostgresEndpoint> {
        var options = (persistent ? [] : ["--volatile"]) + ["--databases", databases.joined(separator: ",")]
        if let diskMiB { options += ["--disk", "\(diskMiB)"] }
        return try await ServerHandle(kind: "postgres", options: options) { settings, folder in
            try PostgresEndpoint(settings, folder: folder, databases: databases)
        }
    }

    /// A PgBouncer of the caller's own, in transaction mode.
    /// - Parameter sessions: how many sessions of `server` all its clients share, for each database and user.
    public static func startPgBouncer(
        before server: PostgresEndpoint, sessions: Int
    ) async throws -> ServerHandle<PgBouncerEndpoint> {
        try await ServerHandle(
            kind: "pgbouncer",
            options: ["--before", server.folderPath, "--set", "default_pool_size=\(sessions)"]
        ) { settings, _ in try PgBouncerEndpoint(settings, server) }
    }

    /// The root of the sources.
    public static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// Where `deploy/local/setup` puts nginx when the system has none.
    public static var unpackedNginx: String { repository + "/.local/nginx/usr/sbin" }

    /// An nginx with the files of `nginx/`, of the caller's own (up in half a second).
    /// - Parameters:
    ///   - gateways: their ports on 127.0.0.1.
    ///   - settings: what `nginx/entrypoint` is told beside these.
    ///   - programs: a folder of programs that it finds before the system's.
    public static func startNginx(
        gateways: [Int], settings: [String: String] = [:], programs: String? = nil
    ) async throws -> ServerHandle<NginxEndpoint> {
        let upstream = gateways.map { "127.0.0.1:\($0)" }.joined(separator: ",")
        // An nginx that a test stops has nobody to wait for.
        let all = ["GATEWAY_UPSTREAM": upstream, "NGINX_DRAIN": "0"].merging(settings) { $1 }
        return try await ServerHandle(
            kind: "nginx",
            options: all.sorted { $0.key < $1.key }.flatMap { ["--set", "\($0.key)=\($0.value)"] }
                + (programs.map { ["--programs", $0] } ?? [])
        ) { settings, _ in try NginxEndpoint(settings) }
    }
}

/// What `deploy/local/servers` refused or failed to do.
public struct TestServerError: Error, CustomStringConvertible {
    /// The command and its complaint.
    public let description: String
}
