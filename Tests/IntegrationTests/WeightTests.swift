import Foundation
import RedisStore
import ServiceHarness
import TestServers
import Testing

/// The largest requests in the largest number that tenants may have: no service comes near the memory that
/// docker-compose.yml gives it, and nothing of them is left when they have ended.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct WeightTests {
    /// A megabyte that hardly shrinks, which costs more than any other wherever it is packed. Its bytes alone do not show how
    /// many tokens it is, so that it is accepted.
    private static let text: String = {
        var random = SystemRandomNumberGenerator()
        let scalars = (0..<333_000).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0x4E00...0x9FA5, using: &random))
        }
        var text = ""
        text.unicodeScalars.append(contentsOf: scalars)
        return text
    }()

    @Test(.timeLimit(.minutes(5))) func tenantsLargestTurnsFitAndLeaveNothing() async throws {
        let postgres = try await TestServers.startPostgres(databases: ["only"], persistent: true)
        let cluster = try await Cluster(
            .simulated(ttft: 5, itl: 20),
            settings: [
                "RATE_LIMIT_ASYNC": "0", "MAX_OUTSTANDING_PER_USER": "1000", "ADMISSION_STANDARD": "0s",
                "LOG_LEVEL": "info", "DATABASE_SHARDS": postgres.endpoint.shards[0],
            ])
        var tenants: [Tenant] = []
        for name in ["first", "second", "third"] {
            let key = try await Executable.output(
                "switchboard", ["keys", "create", "--name", name, "--tenant", name], environment: cluster.environment)
            // A turn that runs for long is what the others wait for.
            let begun = try await cluster.post("/chat", ["message": "Hi", "user_id": "ann", "max_tokens": 1], key: key)
            let conversation = try #require(begun.json["conversation_id"] as? Int, "\(begun.text)")
            var tenant = Tenant(key: key, conversation: Int64(conversation))
            let head = try await post(["message": "Hi", "max_tokens": 100_000], tenant, cluster)
            tenant.turns = [try #require(head.json["correlation_id"] as? String, "\(head.text)")]
            tenants.append(tenant)
        }
        let memory = try await withRedis(cluster) { redis in try await redis.memory().usedBytes }

        for index in tenants.indices {
            var refusal: HTTPAnswer?
            while refusal == nil, tenants[index].turns.count < 200 {
                let answer = try await post(["message": Self.text, "max_tokens": 1], tenants[index], cluster)
                if let id = answer.json["correlation_id"] as? String {
                    tenants[index].turns.append(id)
                } else {
                    refusal = answer
                }
            }
            // The default bound of a tenant's bytes, and not a count, is what ends it.
            #expect((50..<72).contains(tenants[index].turns.count), "\(tenants[index].turns.count)")
            #expect(refusal?.status == 429 && refusal?.headers["retry-after"] != nil, "\(refusal?.text ?? "")")
        }
        try fits(cluster)

        // They end while nothing can be stored: all their outcomes wait for the shard at once.
        try await postgres.kill()
        for tenant in tenants {
            for id in tenant.turns {
                #expect(try await cluster.send("DELETE", "/stream/\(id)", body: nil, key: tenant.key).status == 202)
            }
        }
        for tenant in tenants {
            for id in tenant.turns {
                try await eventually("turn \(id) has ended", within: .seconds(90), or: { cluster.logs }) {
                    try await cluster.get("/check-response/\(id)", key: tenant.key).status != 202
                }
            }
        }
        let waiting = try await outcomes(cluster, tenants[0])
        #expect(waiting >= 150, "\(waiting)")
        try await postgres.restart()
        try await eventually("every outcome is stored", within: .seconds(90), or: { cluster.logs }) {
            try await outcomes(cluster, tenants[0]) == 0
        }
        // The tenants are welcome again, and what ended before costs the next turn nothing.
        for tenant in tenants {
            let hi = try await cluster.post(
                "/chat",
                ["message": "hi", "user_id": "ann", "conversation_id": tenant.conversation, "max_tokens": 1],
                key: tenant.key)
            #expect(hi.status == 200, "\(hi.text)")
        }
        try await withRedis(cluster) { redis in
            for key in try await redis.send("KEYS", "context:*").array?.compactMap(\.text) ?? [] {
                let bytes = try await redis.send("MEMORY", "USAGE", .text(key), "SAMPLES", 0).int ?? .max
                #expect(bytes < 100_000, "\(bytes)")
            }
            let left = try await redis.memory().usedBytes - memory
            #expect(left < 20 << 20, "\(left)")
        }
        try fits(cluster)
        await cluster.stop()
        try await postgres.stop()
    }

    /// How many outcomes wait to be stored.
    private func outcomes(_ cluster: Cluster, _ tenant: Tenant) async throws -> Int {
        // With a key that the gateway knows already: there is nobody to ask.
        let queues = try await cluster.get("/debug/queue-stats", key: tenant.key).json
        return (queues["response_queue"] as? [String: Int])?["message_count"] ?? -1
    }

    /// The KV blocks of a node take what is left of its limit by design. What it has beside them and the weights is what
    /// requests can make grow, and for that `ENGINE_KV_BLOCKS=auto` leaves 256 MiB.
    @Test(.timeLimit(.minutes(5))) func aNodeFullOfTheLongestPromptsStaysWithinWhatIsLeftForIt() async throws {
        let cluster = try await Cluster(
            .llama,
            settings: [
                "MAX_CONCURRENT": "64", "ENGINE_KV_BLOCKS": "512", "RATE_LIMIT_ASYNC": "0",
                "MAX_OUTSTANDING_PER_USER": "1000", "ADMISSION_STANDARD": "0s", "LOG_LEVEL": "info",
            ])
        var ids: [String] = []
        for number in 0..<80 {
            // Most of the model's 8,192 tokens.
            let message = "\(number). " + String(repeating: "word ", count: 7500)
            let answer = try await cluster.post(
                "/async-chat", ["message": message, "user_id": "ann", "max_tokens": 50])
            ids.append(try #require(answer.json["correlation_id"] as? String, "\(answer.text)"))
        }
        try await eventually("every place of the node is taken", within: .seconds(120), or: { cluster.logs }) {
            let scrape = try Scrape(try await cluster.node.asked("/metrics").text)
            let jobs = ["running", "waiting"].map { scrape.value("vllm:num_requests_\($0)") ?? 0 }
            let prompts = scrape.value("vllm:prompt_tokens_total") ?? 0
            return jobs[0] >= 1 && jobs[0] + jobs[1] >= 56 && prompts > 10_000
        }
        let loaded = try #require(cluster.node.log.split(separator: "\n").first { $0.contains("the model is loaded") })
        let sizes = try ["weights_mib", "kv_mib"].map { name in
            let number = loaded.firstMatch(of: try Regex("\(name)\"?[=:]\"?(\\d+)", as: (Substring, Substring).self))
            return try #require(number.flatMap { Int($0.output.1) }, "\(name) in \(loaded)") << 20
        }
        let others = cluster.node.peakResidentBytes - sizes.reduce(0, +)
        #expect(others > 0 && others <= (256 << 20) / 5 * 4, "\(others >> 20) MiB beside weights and KV blocks")
        for id in ids { _ = try await cluster.send("DELETE", "/stream/\(id)", body: nil) }
        await cluster.stop()
    }

    private struct Tenant {
        let key: String
        let conversation: Int64
        var turns: [String] = []
    }

    private func post(_ body: [String: Any], _ tenant: Tenant, _ cluster: Cluster) async throws -> HTTPAnswer {
        try await cluster.post(
            "/async-chat", body.merging(["user_id": "ann", "conversation_id": tenant.conversation]) { $1 },
            key: tenant.key)
    }

    /// Each service has had at most 80 % of its limit.
    private func fits(_ cluster: Cluster) throws {
        for (process, variable) in [
            (cluster.gateway, "GATEWAY_MEMORY"), (cluster.orchestrator, "ORCHESTRATOR_MEMORY"),
            (cluster.worker, "WORKER_MEMORY"),
        ] {
            let limit = try memoryLimit(variable)
            let peak = process.peakResidentBytes
            #expect(peak > 0 && peak <= limit / 5 * 4, "\(process.name): \(peak >> 20) of \(limit >> 20) MiB")
        }
    }

    /// What docker-compose.yml gives a service, in bytes.
    private func memoryLimit(_ variable: String) throws -> Int {
        let folder = (0..<3).reduce(URL(filePath: #filePath)) { url, _ in url.deletingLastPathComponent() }
        let text = try String(contentsOf: folder.appending(path: "docker-compose.yml"), encoding: .utf8)
        let start = try #require(text.range(of: "${\(variable):-")).upperBound
        let number = text[start...].prefix { $0 != "}" }
        #expect(number.last == "m")
        return try #require(Int(number.dropLast())) << 20
    }
}
