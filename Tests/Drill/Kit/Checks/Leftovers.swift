import ChatCore
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceHarness

/// What a cluster at rest must not have: keys that never expire, leases, waiting turns, owned blocks, messages.
struct Leftovers: Sendable {
    let redis: RedisPool
    let inspector: QueueInspector
    let database: ShardedDatabase

    private static let queues = Topology.platform(responseShards: ["shard0", "shard1"]).queues.map(\.name)

    /// Of Redis: every key expires; every turn has ended and is nobody's; no conversation or user has unfinished turns.
    func inRedis() async throws -> [String] {
        var found: [String] = []
        for key in try await keys() {
            let name = String(decoding: key, as: UTF8.self)
            if try await redis.send("PTTL", .bytes(key)).int == -1 { found.append("key \(name) never expires") }
            if name.hasPrefix("turn:"), name.hasSuffix(":record") {
                let record = try await redis.send("HMGET", .bytes(key), "ended", "owner", "kind", "next").array ?? []
                guard record.count == 4, record != [.null, .null, .null, .null] else { continue }
                if let owner = record[1].text, !owner.isEmpty { found.append("\(name) is leased to \(owner)") }
                if record[0].isNull {
                    found.append("\(name) has not ended (\(record[2].text ?? ""), \(record[3].text ?? "") tokens)")
                }
            }
            let isOrder =
                name.hasPrefix("order:") && !name.hasSuffix(":deadlines") && !name.hasSuffix(":last")
            if name.hasPrefix("outstanding:"), name.hasSuffix(":bytes") {
                let bytes = try await redis.send("HGET", .bytes(key), "sum").int ?? 0
                if bytes != 0 { found.append("\(name) counts \(bytes) bytes of unfinished turns") }
            } else if isOrder || name.hasPrefix("outstanding:"),
                let count = try await redis.send("ZCARD", .bytes(key)).int,
                count > 0
            {
                found.append("\(name) holds \(count) unfinished turns")
            }
        }
        return found
    }

    private func keys() async throws -> [[UInt8]] {
        var keys: Set<[UInt8]> = []
        var cursor: RedisArgument = "0"
        while true {
            let reply = try await redis.send("SCAN", cursor, "COUNT", "1000").array ?? []
            guard reply.count == 2, let next = reply[0].data, let batch = reply[1].array else {
                throw HarnessError("SCAN answered something else")
            }
            keys.formUnion(batch.compactMap(\.data))
            if next == Array("0".utf8) { return Array(keys) }
            cursor = .bytes(next)
        }
    }

    /// Of the nodes: nothing runs or waits, and every KV block is free.
    func atNodes() async throws -> [String] {
        let nodes = try await NodeDirectory(pool: redis).nodes()
        var found = nodes.count == 2 ? [] : ["\(nodes.count) nodes are announced, not 2"]
        for node in nodes {
            if node.running + node.waiting > 0 {
                found.append("node \(node.id): \(node.running) run, \(node.waiting) wait")
            }
            if node.freeBlocks != node.totalBlocks {
                found.append("node \(node.id): \(node.freeBlocks) of \(node.totalBlocks) blocks are free")
            }
        }
        return found
    }

    /// Of the broker. Messages that a consumer holds are not counted: with all services gone nobody holds any.
    func inQueues() async throws -> [String] {
        let statistics = try await inspector.statistics(of: Self.queues)
        return Self.queues.compactMap { queue in
            guard let count = statistics[queue]?.messages else { return "\(queue) does not exist" }
            return count > 0 ? "\(queue) holds \(count) messages" : nil
        }
    }

    /// Of the shards: turns that are in none of them.
    func unsettled(_ ids: [String]) async throws -> [String] {
        let stored = Set(try await StoredTurns(of: "drill", in: database).turns.map(\.id))
        return ids.filter { !stored.contains($0) }.map { "turn \($0) is not settled" }
    }

    /// Of the directory: dead letters.
    func inDirectory() async throws -> [String] {
        let tables = try await database.directory.query("SELECT (to_regclass('dead_letters') IS NOT NULL) AS there")
        guard let first = tables.first, try first.value("there", as: Bool.self) else { return [] }
        let count = try await database.directory.query("SELECT count(*) AS count FROM dead_letters")
        let letters = try count.first?.value("count", as: Int64.self) ?? 0
        return letters > 0 ? ["there are \(letters) dead letters"] : []
    }
}

/// The drill's own connections to the servers, past the proxy, for as long as `body` runs.
func withLeftovers<Result: Sendable>(
    of cluster: DrillCluster, _ body: (Leftovers) async throws -> Result
) async throws -> Result {
    var logger = Logger(label: "drill")
    logger.logLevel = .critical
    let endpoint = cluster.redis.endpoint
    let redis = RedisPool(
        configuration: RedisConfiguration(
            host: endpoint.host, port: endpoint.port, password: endpoint.password, poolSize: 1), logger: logger)
    let inspector = QueueInspector(
        configuration: try RabbitConfiguration(uri: cluster.environment["RABBITMQ_URI"] ?? ""), logger: logger)
    let database = try ShardedDatabase(
        configuration: try DatabaseConfiguration(shards: cluster.environment["DATABASE_SHARDS"] ?? "", poolSize: 2),
        logger: logger)
    let running = [
        Task { try await redis.run() }, Task { try await inspector.run() }, Task { try await database.run() },
    ]
    defer { running.forEach { $0.cancel() } }
    try await redis.waitUntilConnected()
    guard await inspector.waitUntilConnected(timeout: .seconds(30)) else { throw HarnessError("no broker") }
    return try await body(Leftovers(redis: redis, inspector: inspector, database: database))
}
