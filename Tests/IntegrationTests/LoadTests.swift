import Foundation
import ServiceHarness
import Testing

/// `switchboard load` against a whole cluster: what it measures there, and that a gateway which dies costs no token.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct LoadTests {
    private struct Report: Decodable {
        struct Turns: Decodable { let begun, done, failed, cut, not_begun: Int }
        struct Latency: Decodable { let count: Int; let p50: Double; let max: Double }
        let turns: Turns
        let tokens: [String: Double]
        let exactly_once: [String: Int]
        let errors: [String: Int]
        let connections: Connections
        let latency_seconds: [String: Latency]

        struct Connections: Decodable { let dropped: Int; let lost: [String: Int] }
    }

    @Test(.timeLimit(.minutes(3))) func loadIsMeasuredAndOutlivesAGateway() async throws {
        let cluster = try await Cluster(
            .simulated(ttft: 5, itl: 20),
            settings: ["MAX_CONCURRENT": "256", "ADMISSION_STANDARD": "0s", "RATE_LIMIT_STREAM": "0"])
        do {
            try await usersTalk(cluster)
            try await aKilledGatewayCostsNoToken(cluster)
        } catch {
            await cluster.stop()
            throw error
        }
        await cluster.stop()
    }

    private func load(_ cluster: Cluster, _ arguments: String...) async throws -> Report {
        let environment = cluster.environment.merging(["CHAT_API_KEY": cluster.key]) { _, new in new }
        let text = try await Executable.output(
            "switchboard", ["load", "--json", "--quiet"] + arguments, environment: environment)
        return try JSONDecoder().decode(Report.self, from: Data(text.utf8))
    }

    /// Conversations of several turns: the later ones name the conversation of the first.
    private func usersTalk(_ cluster: Cluster) async throws {
        let report = try await load(
            cluster, "users", "--gateway", "http://127.0.0.1:\(cluster.port)", "--streams", "10", "--think", "100ms",
            "--max-tokens", "8", "--duration", "2s")
        #expect(report.turns.done == report.turns.begun && report.turns.done >= 10, "\(report)")
        #expect(report.tokens["count"] == Double(report.turns.done * 8))
        #expect(report.latency_seconds["first_token"]?.count == report.turns.done)
        // The node gives a token every 20 ms.
        #expect((0.015...).contains(report.latency_seconds["whole_turn"]?.p50 ?? 0))
    }

    private func aKilledGatewayCostsNoToken(_ cluster: Cluster) async throws {
        let port = try freePort()
        let second = try cluster.another("gateway", settings: ["GATEWAY_PORT": "\(port)"])
        let other = OtherGateway(port: port, key: cluster.key)
        try await eventually("the second gateway is healthy") {
            try await other.get("/health", key: nil).status == 200
        }
        async let running = load(
            cluster, "--gateway", "http://127.0.0.1:\(cluster.port)", "--gateway", "http://127.0.0.1:\(port)",
            "--streams", "60", "--max-tokens", "150", "--duration", "1s", "--reconnects", "50%")
        // Its 30 streams, of three seconds each, are under way when it is killed.
        try await eventually("streams are read from the second gateway") {
            try await other.get("/metrics", key: nil).text.split(separator: "\n").contains { line in
                line.hasPrefix("switchboard_requests_total") && line.contains("route=\"/stream-chat\"")
                    && (Double(line.split(separator: " ").last ?? "") ?? 0) >= 30
            }
        }
        second.signal(SIGKILL)
        let report = try await running
        #expect(report.exactly_once["violations"] == 0 && report.errors.isEmpty, "\(report)")
        #expect(report.turns.done == report.turns.begun && report.turns.cut == 0)
        #expect(report.tokens["count"] == Double(report.turns.done * 150))
        #expect(!report.connections.lost.isEmpty && report.connections.dropped > 0)
    }
}
