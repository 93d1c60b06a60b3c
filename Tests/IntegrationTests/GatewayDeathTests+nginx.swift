import AsyncHTTPClient
import ChatClient
import Foundation
import RedisStore
import ServiceHarness
import TestServers
import Testing

/// Clients that know one address only: an nginx before gateways that die, drain and come back.
extension GatewayDeathTests {
    func aFrontOutlivesItsGateways(_ cluster: Cluster) async throws {
        let ports = [try freePort(), try freePort()]
        let nginx = try await TestServers.startNginx(gateways: ports, settings: ["GATEWAY_HEARTBEAT": "1s"])
        var configuration = HTTPClient.Configuration.trusting(nginx.endpoint.certificatePath)
        configuration.timeout.read = .seconds(20)
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let url = "https://localhost:\(nginx.endpoint.tlsPort)"
        do {
            let last = try await streamsGoOn(cluster, http, url, ports)
            try await chatsGoOnWithAKey(cluster, http, url, ports, last)
        } catch {
            try? await http.shutdown()
            throw HarnessError("\(error)\n\(nginx.endpoint.log.suffix(3000))")
        }
        try await http.shutdown()
        try await nginx.stop()
    }

    /// One gateway is killed and comes back, then the other drains.
    /// - Returns: the one that is left, at the first port.
    private func streamsGoOn(
        _ cluster: Cluster, _ http: HTTPClient, _ url: String, _ ports: [Int]
    ) async throws -> Gateway {
        var first = try await gateway(cluster, port: ports[0])
        let second = try await gateway(cluster, port: ports[1])
        let front = Gateway(process: first.process, url: url)
        // Sixteen, of which each gateway surely has some.
        let ends = try await whileFollowing(16, cluster, http, at: [front], from: 400, tokens: 200) { followed in
            _ = await first.process.ended(by: SIGKILL)
            let counts = followed.map(\.count)
            try await eventually("all go on at the other", or: { cluster.logs }) {
                zip(followed, counts).allSatisfy { $0.count >= $1 + 3 }
            }
            first = try await gateway(cluster, port: ports[0])
            #expect(await second.process.ended(by: SIGTERM) == 0)
        }
        let interruptions = ends.flatMap { $0.0.interruptions }
        #expect(interruptions.contains { !$0.reason.contains("ended before") }, "some were cut by the kill")
        #expect(interruptions.contains { $0.reason.contains("ended before") }, "some were sent away by the drain")
        return first
    }

    private func chatsAccepted(_ port: Int) async throws -> Double {
        try await OperatorClient(port: port).scrape().value("switchboard_turns_accepted_total", ["kind": "chat"]) ?? 0
    }

    /// What was asked of a gateway that died is asked of another when the request has a key, and never without.
    private func chatsGoOnWithAKey(
        _ cluster: Cluster, _ http: HTTPClient, _ url: String, _ ports: [Int], _ first: Gateway
    ) async throws {
        func chat(_ user: String, _ headers: [String: String]) throws -> Task<HTTPAnswer, any Error> {
            // Long enough to be running still when its node has said so and its gateway is killed.
            let body = ["message": "Hi", "user_id": user, "max_tokens": 400, "seed": 7] as [String: Any]
            var request = cluster.request(
                "POST", "/chat", body: Array(try JSONSerialization.data(withJSONObject: body)), headers: headers)
            request.url = url + "/chat"
            let complete = request
            return Task {
                let response = try await http.execute(complete, timeout: .seconds(60))
                return HTTPAnswer(response, body: try await response.body.collect(upTo: 1 << 20))
            }
        }
        func isRunning() async throws -> Bool {
            try await withRedis(cluster) { redis in
                try await NodeDirectory(pool: redis).nodes().contains { $0.running > 0 }
            }
        }
        try await eventually("nothing runs") { try await !isRunning() }
        // Both live before it is asked: nginx asks none again that refused the same request before.
        let second = try await gateway(cluster, port: ports[1])
        let before = try await chatsAccepted(ports[0])
        let keyed = try chat("keyed", ["Idempotency-Key": "one"])
        try await eventually("it runs", or: { cluster.logs }) { try await isRunning() }
        let isAtFirst = try await chatsAccepted(ports[0]) > before
        let (dying, staying) = isAtFirst ? (first, second) : (second, first)
        _ = await dying.process.ended(by: SIGKILL)
        let answer = try await keyed.value
        #expect(answer.status == 200 && answer.json["response"] is String, "\(answer.status) \(answer.text)")
        #expect(answer.headers["idempotent-replayed"] == "true")

        // What is announced of the one before would be taken for it.
        try await eventually("nothing runs") { try await !isRunning() }
        let bare = try chat("bare", [:])
        try await eventually("it runs", or: { cluster.logs }) { try await isRunning() }
        _ = await staying.process.ended(by: SIGKILL)
        let lost = try await bare.value
        #expect(lost.status == 502 && lost.error["code"] as? String == "interrupted", "\(lost.text)")

        let nobody = try await chat("nobody", ["Idempotency-Key": "two"]).value
        #expect(nobody.status == 502 && nobody.error["code"] as? String == "unavailable", "\(nobody.text)")
        #expect(nobody.headers["retry-after"] != nil)
    }
}
