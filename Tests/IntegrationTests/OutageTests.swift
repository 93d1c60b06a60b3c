import ChatCore
import Foundation
import Logging
import PostgresStore
import ServiceHarness
import TestServers
import Testing

/// A shard, the broker and Redis go away under a cluster, one after the other, and come back.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct OutageTests {
    @Test(.timeLimit(.minutes(4))) func whatDependsOnAnOutageWaitsAndTheRestGoesOn() async throws {
        // Persistent: what was settled before the kill is counted after it.
        let postgres = try await TestServers.startPostgres(databases: ["far"], persistent: true)
        let rabbit = try await TestServers.startRabbit()
        let near = try await TestServers.postgres().freshDatabases(count: 1)[0]
        let cluster = try await Cluster(
            .simulated(ttft: 1, itl: 15),
            settings: [
                "DATABASE_SHARDS": "near=\(near),far=\(postgres.endpoint.shards[0])",
                "RABBITMQ_URI": rabbit.endpoint.uri,
            ])
        try await eventually("orchestrator and worker are seen", or: { cluster.logs }) {
            try await cluster.get("/health", key: nil).json["alive"] as? [String: Int]
                == ["orchestrators": 1, "queue_workers": 1]
        }
        #expect(try await breakers(cluster) == closed)
        try await shardIsAway(cluster, postgres)
        try await shardIsReadOnly(cluster, postgres)
        try await shardIsFull(cluster, postgres)
        try await shardLetsNobodyIn(cluster)
        try await brokerIsBlocked(cluster, rabbit)
        try await brokerIsAway(cluster, rabbit)
        try await redisIsAway(cluster)
        try await metrics(cluster)
        await cluster.stop()
        try await rabbit.stop()
        try await postgres.stop()
    }

    private let closed = [
        "redis": "closed", "redis.writes": "closed", "rabbitmq": "closed", "database.near": "closed",
        "database.far": "closed", "database.near.writes": "closed", "database.far.writes": "closed",
    ]

    private func breakers(_ cluster: Cluster) async throws -> [String: String] {
        try await cluster.get("/health", key: nil).json["breakers"] as? [String: String] ?? [:]
    }

    private func user(of shard: Int) -> String {
        let ring = HashRing(members: ["near", "far"])
        return (0...).lazy.map { "user\($0)" }.first { user in
            ring.member(for: UserKey(tenant: "default", user: user).ringKey) == shard
        } ?? ""
    }

    private func chat(_ cluster: Cluster, _ user: String, in conversation: Int64? = nil) async throws -> Int64 {
        var body: [String: Any] = ["message": "Hi", "user_id": user, "max_tokens": 3]
        if let conversation { body["conversation_id"] = conversation }
        let answer = try await cluster.post("/chat", body)
        #expect(answer.status == 200, "\(answer.text)\n\(cluster.logs)")
        return answer.json["conversation_id"] as? Int64 ?? 0
    }

    private func shardIsAway(_ cluster: Cluster, _ postgres: ServerHandle<PostgresEndpoint>) async throws {
        let (here, there) = (user(of: 0), user(of: 1))
        func responses() async throws -> [String: Int] {
            try await cluster.get("/debug/queue-stats").json["response_queue"] as? [String: Int] ?? [:]
        }
        let conversation = try await chat(cluster, there)
        try await eventually("settled") { try await stored(in: cluster, shard: "far") == 1 }

        try await postgres.kill()
        _ = try await chat(cluster, there, in: conversation)
        _ = try await chat(cluster, there)
        try await eventually("its breaker opens, and no other", or: { cluster.logs }) {
            let states = try await breakers(cluster)
            return states["database.far"] != "closed" && states["database.near"] == "closed"
        }
        try await eventually("the worker gives the shard's queue back and leaves it alone", or: { cluster.logs }) {
            try await responses() == ["message_count": 2, "consumer_count": 1]
        }
        let health = try await cluster.get("/health", key: nil)
        #expect(health.status == 503 && health.json["status"] as? String == "degraded")
        #expect((health.json["components"] as? [String: String])?["database"] == "down")
        _ = try await chat(cluster, there, in: conversation)
        _ = try await chat(cluster, here)
        try await eventually("the other shard settles") { try await stored(in: cluster, shard: "near") == 1 }

        try await postgres.restart()
        try await eventually("what waited is settled", or: { cluster.logs }) {
            try await stored(in: cluster, shard: "far") == 4
        }
        try await eventually("consumed as before", or: { cluster.logs }) {
            let states = try await breakers(cluster)
            return try await responses() == ["message_count": 0, "consumer_count": 2] && states == closed
        }
    }

    /// It answers and takes no writes: turns go on and end, stored ones are read, and what ended waits to be stored.
    private func shardIsReadOnly(_ cluster: Cluster, _ postgres: ServerHandle<PostgresEndpoint>) async throws {
        let there = user(of: 1)
        let before = try await stored(in: cluster, shard: "far") + 1
        let old = try await chat(cluster, there)
        try await eventually("settled") { try await stored(in: cluster, shard: "far") == before }
        let running = try await accepted(4) { _ in
            try await cluster.beginStream(["message": "Hi", "user_id": there, "max_tokens": 100])
        }
        try await postgres.setReadOnly(true)
        try await eventually("the breaker of its writes opens, and no other", or: { cluster.logs }) {
            var expected = closed
            expected["database.far.writes"] = try await breakers(cluster)["database.far.writes"]
            return try await breakers(cluster) == expected && expected["database.far.writes"] == "open"
        }
        try await eventually("the health says which is refused", or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            let components = health.json["components"] as? [String: String]
            return health.status == 503 && health.json["status"] as? String == "degraded"
                && components?["database"] == "up" && components?["database_writes"] == "down"
        }
        let conversation = try await chat(cluster, there)
        _ = try await chat(cluster, there, in: conversation)
        // What is not cached is not whole in the shard while nothing is stored there.
        try await withRedis(cluster) { redis in
            for key in try await redis.send("KEYS", "context:*").array?.compactMap(\.text) ?? [] {
                _ = try await redis.send("DEL", .text(key))
            }
        }
        let continued = try await cluster.post("/chat", ["message": "Hi", "user_id": there, "conversation_id": old])
        #expect(continued.status == 503)
        for id in running { #expect(try await cluster.stream(id).isDone) }

        try await postgres.setReadOnly(false)
        try await eventually("what waited is stored, once", or: { cluster.logs }) {
            try await stored(in: cluster, shard: "far") == before + running.count + 2
        }
        try await eventually("well again", or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            return try await breakers(cluster) == closed && health.status == 200
        }
        let dead = try await cluster.get("/debug/queue-stats").json["dead_letter_queue"] as? [String: Int]
        #expect(dead?["message_count"] == 0)
    }

    /// Only those who write find out: the queue workers.
    private func shardIsFull(_ cluster: Cluster, _ postgres: ServerHandle<PostgresEndpoint>) async throws {
        let there = user(of: 1)
        let before = try await stored(in: cluster, shard: "far")
        func onShard(_ statements: String...) async throws {
            try await withDatabase(cluster) { database in
                for statement in statements { try await database.shard(named: "far")?.pool.query(statement) }
            }
        }
        // As a server says it whose disk is full.
        try await onShard(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$
            """, "CREATE TRIGGER refuse BEFORE INSERT ON turns EXECUTE FUNCTION refuse()")
        _ = try await chat(cluster, there)
        try await eventually("the health says what is refused", or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            let components = health.json["components"] as? [String: String]
            return health.status == 503 && components?["database"] == "up" && components?["database_writes"] == "down"
        }
        // The gateway itself has no complaint.
        #expect(try await breakers(cluster) == closed)
        _ = try await chat(cluster, there)
        _ = try await chat(cluster, user(of: 0))
        #expect(try await stored(in: cluster, shard: "far") == before)

        try await onShard("DROP TRIGGER refuse ON turns", "DROP FUNCTION refuse")
        try await eventually("what waited is stored, once", or: { cluster.logs }) {
            try await stored(in: cluster, shard: "far") == before + 2
        }
        try await eventually("well again", or: { cluster.logs }) {
            try await cluster.get("/health", key: nil).status == 200
        }
    }

    /// One of two shards refuses the credentials of whoever comes now: no service with them is ready, and each says why.
    private func shardLetsNobodyIn(_ cluster: Cluster) async throws {
        let uris = try #require(cluster.environment["DATABASE_SHARDS"])
        let role = "late_" + String(UInt32.random(in: .min ... .max), radix: 16)
        func onShard(_ statement: String) async throws {
            _ = try await withDatabase(cluster) { try await $0.shard(named: "near")?.pool.query(statement) }
        }
        try await onShard("CREATE ROLE \(role) LOGIN SUPERUSER PASSWORD 'right'")
        let near = try #require(uris.split(separator: ",").first)
        let address = try #require(near.split(separator: "@").last)
        let shards = uris.replacing(near, with: "near=postgresql://\(role):wrong@\(address)")
        let services = try ["gateway", "orchestrator", "queue-worker"].map { name in
            try cluster.another(name, settings: ["DATABASE_SHARDS": shards, "GATEWAY_PORT": "\(try freePort())"])
        }
        for service in services {
            try await eventually("\(service.name) is not ready", or: { service.log }) {
                let answer = try await service.asked("/readyz")
                return answer.status == 503 && answer.text.contains("database near is unavailable")
                    && answer.text.contains("28P01") && !answer.text.contains("wrong")
            }
            #expect(try await service.asked("/livez").status == 200)
        }
        try await onShard("ALTER ROLE \(role) PASSWORD 'wrong'")
        for service in services {
            try await eventually("\(service.name) is ready", or: { service.log }) {
                try await service.asked("/readyz").status == 200
            }
            #expect(await service.ended(by: SIGTERM) == 0, "\(service.log.suffix(1500))")
        }
        try await onShard("DROP ROLE \(role)")
    }

    /// It is short of memory: it reads no publishes, and says so.
    private func brokerIsBlocked(_ cluster: Cluster, _ rabbit: ServerHandle<RabbitEndpoint>) async throws {
        let (id, undisturbed, follower) = try await followed(tokens: 400, seed: 5, cluster)
        try await rabbit.ask("set_vm_memory_high_watermark", "absolute", "1")
        try await newTurnsAreRefused(cluster)
        try await eventually("the health says which is refused", or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            let down = (health.json["components"] as? [String: String])?.filter { $0.value == "down" }.keys
            return health.status == 503 && down.map(Array.init) == ["rabbitmq"]
        }
        for process in [cluster.gateway, cluster.orchestrator, cluster.worker] {
            try await eventually("\(process.name) says why it is not ready", or: { process.log }) {
                let answer = try await process.asked("/readyz")
                return answer.status == 503 && answer.text.contains("memory or disk")
            }
        }
        // Generated on, and stored when the broker reads again.
        _ = try await cluster.stream(id) { $0.events.count >= 400 }
        try await rabbit.ask("set_vm_memory_high_watermark", "0.4")
        let survived = try await follower.value
        #expect(survived.events == undisturbed.events && survived.isDone, "\(cluster.logs)")
        try await eventually("well again", within: .seconds(30), or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            guard try await breakers(cluster) == closed, health.status == 200 else { return false }
            return try await cluster.post("/chat", ["message": "Hi", "user_id": "eve", "max_tokens": 1]).status == 200
        }
    }

    private func brokerIsAway(_ cluster: Cluster, _ rabbit: ServerHandle<RabbitEndpoint>) async throws {
        let (_, undisturbed, follower) = try await followed(tokens: 200, seed: 3, cluster)
        try await rabbit.kill()
        try await newTurnsAreRefused(cluster)
        try await eventually("its breaker opens", or: { cluster.logs }) {
            try await breakers(cluster)["rabbitmq"] != "closed"
        }
        try await rabbit.restart()
        let survived = try await follower.value
        #expect(survived.events == undisturbed.events && survived.isDone, "\(cluster.logs)")
        try await eventually("well again", within: .seconds(30), or: { cluster.logs }) {
            guard try await breakers(cluster) == closed else { return false }
            return try await cluster.post("/chat", ["message": "Hi", "user_id": "eve", "max_tokens": 1]).status == 200
        }
    }

    private func redisIsAway(_ cluster: Cluster) async throws {
        let (_, undisturbed, follower) = try await followed(tokens: 200, seed: 4, cluster)
        try await cluster.redis.pause()
        try await eventually("its breaker opens", or: { cluster.logs }) {
            try await breakers(cluster)["redis"] == "open"
        }
        #expect(try await cluster.post("/chat", ["message": "Hi", "user_id": "bob"]).status == 503)
        try await cluster.redis.resume()
        let survived = try await follower.value
        #expect(survived.events == undisturbed.events && survived.isDone, "\(cluster.logs)")
        try await eventually("well again", or: { cluster.logs }) {
            let health = try await cluster.get("/health", key: nil)
            return try await breakers(cluster) == closed && health.status == 200
        }
    }

    private func metrics(_ cluster: Cluster) async throws {
        let answer = try await cluster.get("/metrics", key: nil)
        #expect(answer.status == 200 && answer.headers["content-type"]?.hasPrefix("text/plain") == true)
        let lines = Set(answer.text.split(separator: "\n").map(String.init))
        for dependency in closed.keys where !dependency.hasPrefix("database.near") && dependency != "redis.writes" {
            #expect(lines.contains("switchboard_breaker_state{dependency=\"\(dependency)\"} 0"))
            let name = "switchboard_breaker_openings_total{dependency=\"\(dependency)\"} "
            let openings = lines.first { $0.hasPrefix(name) }.flatMap { Int($0.dropFirst(name.count)) }
            #expect(openings ?? 0 >= 1, "\(dependency)")
        }
        #expect(lines.contains("switchboard_breaker_openings_total{dependency=\"database.near\"} 0"))
        #expect(lines.contains { $0.hasPrefix("switchboard_requests_total{route=\"/chat\",status=\"503\"} ") })
        #expect(lines.contains("switchboard_component_up{component=\"redis\"} 1"))
        // No name that a client made up.
        _ = try await cluster.get("/made/up?by=a-client", key: nil)
        #expect(!(try await cluster.get("/metrics", key: nil).text.contains("made/up")))
    }

    /// A stream whose client has had some of its tokens and reads on, and what it is when nothing happens.
    private func followed(tokens: Int, seed: Int, _ cluster: Cluster) async throws -> (
        id: String, undisturbed: ReadStream, follower: Task<ReadStream, any Error>
    ) {
        let body: [String: Any] = ["message": "Hi", "user_id": "ann", "max_tokens": tokens, "seed": seed]
        let undisturbed = try await cluster.stream(try await cluster.beginStream(body))
        let id = try await cluster.beginStream(body)
        let follower = Task { try await cluster.stream(id) }
        _ = try await cluster.stream(id) { $0.events.count >= 5 }
        return (id, undisturbed, follower)
    }

    private func newTurnsAreRefused(_ cluster: Cluster) async throws {
        try await eventually("new turns are refused with a time to come back", or: { cluster.logs }) {
            let answer = try await cluster.post("/chat", ["message": "Hi", "user_id": "bob", "max_tokens": 1])
            return answer.status == 503 && Int(answer.headers["retry-after"] ?? "") ?? 0 > 0
        }
    }

    /// How many turns a shard holds.
    private func stored(in cluster: Cluster, shard: String) async throws -> Int {
        try await withDatabase(cluster) { database in
            let rows = try await database.shard(named: shard)?.pool.query("SELECT count(*) FROM turns")
            let count: Int64? = try rows?.first?.value("count")
            return Int(count ?? -1)
        }
    }

    private func withDatabase<R>(_ cluster: Cluster, _ body: (ShardedDatabase) async throws -> R) async throws -> R {
        let uris = try #require(cluster.environment["DATABASE_SHARDS"])
        let database = try ShardedDatabase(
            configuration: try DatabaseConfiguration(shards: uris, poolSize: 1),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        do {
            let result = try await body(database)
            await database.close()
            return result
        } catch {
            await database.close()
            throw error
        }
    }
}
