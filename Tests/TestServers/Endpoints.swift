import Foundation

/// Where a Redis listens.
public struct RedisEndpoint: Sendable {
    public let host: String
    public let port: Int
    public let password: String

    init(_ settings: ServerSettings) throws {
        host = try settings.string("HOST")
        port = try settings.integer("PORT")
        password = try settings.string("PASSWORD")
    }
}

/// Where a RabbitMQ listens, and one of its virtual hosts.
public struct RabbitEndpoint: Sendable {
    public let host: String
    public let port: Int
    public let user: String
    public let password: String
    public let virtualHost: String
    private let folder: ServerFolder
    private let supply: VirtualHostSupply

    /// `amqp://user:password@host:port/vhost`
    public var uri: String { "amqp://\(user):\(password)@\(host):\(port)/\(virtualHost)" }

    /// The same broker with an empty virtual host that nobody else is given.
    ///
    /// The prepared ones cost nothing; beyond them each takes the seconds of `rabbitmqctl`.
    public func freshVirtualHost() async throws -> RabbitEndpoint {
        let (name, isPrepared) = await supply.next()
        if !isPrepared {
            try await folder.run(["vhost", folder.path, name])
        }
        return RabbitEndpoint(self, virtualHost: name)
    }

    init(_ settings: ServerSettings, folder: ServerFolder, supply: VirtualHostSupply) throws {
        host = try settings.string("HOST")
        port = try settings.integer("PORT")
        user = try settings.string("USER")
        password = try settings.string("PASSWORD")
        virtualHost = try settings.string("VHOST")
        self.folder = folder
        self.supply = supply
    }

    private init(_ other: RabbitEndpoint, virtualHost: String) {
        host = other.host
        port = other.port
        user = other.user
        password = other.password
        folder = other.folder
        supply = other.supply
        self.virtualHost = virtualHost
    }
}

/// Counts the virtual hosts handed out; the first ones were made with the broker, as t0, t1, ….
actor VirtualHostSupply {
    private let prepared: Int
    private var given = 0

    init(prepared: Int) {
        self.prepared = prepared
    }

    func next() -> (name: String, isPrepared: Bool) {
        defer { given += 1 }
        return ("t\(given)", given < prepared)
    }
}

/// Where a PostgreSQL listens, and the databases that stand for shards.
public struct PostgresEndpoint: Sendable {
    public let host: String
    public let port: Int
    public let user: String
    public let password: String
    /// `postgresql://user:password@host:port/database`, one for each database.
    public let shards: [String]
    private let folder: ServerFolder

    var folderPath: String { folder.path }

    /// Makes `count` empty databases that nobody else is given (about 0.1 s each).
    /// - Returns: their URIs, in the form of ``shards``.
    public func freshDatabases(count: Int) async throws -> [String] {
        let names = (0..<count).map { _ in "fresh_" + String(UInt64.random(in: .min ... .max), radix: 16) }
        try await folder.run(["database", folder.path] + names)
        return names.map(uri)
    }

    init(_ settings: ServerSettings, folder: ServerFolder, databases: [String]) throws {
        host = try settings.string("HOST")
        port = try settings.integer("PORT")
        user = try settings.string("USER")
        password = try settings.string("PASSWORD")
        let base = "postgresql://\(user):\(password)@\(host):\(port)/"
        shards = databases.map { base + $0 }
        self.folder = folder
    }

    private func uri(_ database: String) -> String {
        "postgresql://\(user):\(password)@\(host):\(port)/\(database)"
    }
}

/// Where a PgBouncer listens.
public struct PgBouncerEndpoint: Sendable {
    private let port: Int
    private let server: PostgresEndpoint

    init(_ settings: ServerSettings, _ server: PostgresEndpoint) throws {
        port = try settings.integer("PORT")
        self.server = server
    }

    /// The way to a database of its server, by `uri`, through it.
    public func uri(to uri: String) -> String { uri.replacing(":\(server.port)/", with: ":\(port)/") }
}

/// Where an nginx listens, and what it leaves behind.
public struct NginxEndpoint: Sendable {
    public let host: String
    /// Without TLS.
    public let port: Int
    public let tlsPort: Int
    /// `/livez` and `/metrics`.
    public let operatorPort: Int
    /// The certificate that it made for itself; `tls.key` lies beside it.
    public let certificatePath: String
    private let logPath: String

    /// What it and its entrypoint have said, the log of requests among it.
    public var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }

    init(_ settings: ServerSettings) throws {
        host = try settings.string("HOST")
        port = try settings.integer("PORT")
        tlsPort = try settings.integer("TLS_PORT")
        operatorPort = try settings.integer("OPERATOR_PORT")
        certificatePath = try settings.string("CERTIFICATE")
        logPath = try settings.string("LOG")
    }
}

/// The NAME=VALUE lines that `servers start` prints.
struct ServerSettings {
    private let values: [String: String]

    init(lines: String) {
        let pairs = lines.split(separator: "\n").compactMap { line -> (String, String)? in
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
        }
        values = Dictionary(pairs, uniquingKeysWith: { _, last in last })
    }

    func string(_ name: String) throws -> String {
        guard let value = values[name] else { throw TestServerError(description: "servers start printed no \(name)") }
        return value
    }

    func integer(_ name: String) throws -> Int {
        guard let value = Int(try string(name)) else {
            throw TestServerError(description: "servers start printed a \(name) that is no number")
        }
        return value
    }
}
