import AsyncHTTPClient
import ChatClient
import ChatCore
import Foundation
import ServiceHarness
import Synchronization
import Testing

/// Gateways that die, drain and are asked to hurry, under clients that know more than one of them; turns that are cancelled;
/// turns that Redis has forgotten.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct GatewayDeathTests {
    private static let tokens = 120

    @Test(.timeLimit(.minutes(4))) func clientsOutliveTheirGateways() async throws {
        let cluster = try await Cluster(
            .simulated(ttft: 5, itl: 20), settings: ["GATEWAY_HEARTBEAT": "1s", "GATEWAY_DRAIN": "1s"])
        let http = ChatClient.http(silence: .seconds(3), connections: 64)
        do {
            try await aKilledGatewayIsMadeGood(cluster, http)
            try await aDrainSendsClientsOnWithoutLoss(cluster, http)
            try await theSecondSignalIsAtOnce(cluster, http)
            try await aFrontOutlivesItsGateways(cluster)
            try await cancellingEndsATurnWhereverItIs(cluster)
            try await theChatReadsAPipe(cluster)
            try await anIdThatRedisForgotIsWaitedFor(cluster, http)
        } catch {
            try? await http.shutdown()
            await cluster.stop()
            throw error
        }
        try await http.shutdown()
        await cluster.stop()
    }

    // MARK: Gateways

    struct Gateway {
        let process: ServiceProcess
        let url: String
    }

    func gateway(_ cluster: Cluster, drain: String = "1s", port: Int? = nil) async throws -> Gateway {
        let port = try port ?? freePort()
        let process = try cluster.another("gateway", settings: ["GATEWAY_PORT": "\(port)", "GATEWAY_DRAIN": drain])
        try await eventually("another gateway is healthy", or: { process.log }) {
            try await HTTPClient.shared.get(url: "http://127.0.0.1:\(port)/health").get().status == .ok
        }
        return Gateway(process: process, url: "http://127.0.0.1:\(port)")
    }

    func client(_ cluster: Cluster, _ http: HTTPClient, _ gateways: [Gateway]) throws -> ChatClient {
        try ChatClient(.init(gateways: gateways.map(\.url), apiKey: cluster.key), http: http)
    }

    private func request(_ index: Int, tokens: Int = GatewayDeathTests.tokens) -> ChatRequest {
        var request = ChatRequest(message: "Tell me about \(index).", userID: "user\(index)")
        request.maxTokens = tokens
        request.seed = UInt64(index)
        return request
    }

    final class Followed: Sendable {
        private struct State {
            var texts: [String] = []
            var interruptions: [(reason: String, pause: Duration)] = []
        }
        private let state = Mutex(State())
        var count: Int { state.withLock { $0.texts.count } }
        var text: String { state.withLock { $0.texts.joined() } }
        var interruptions: [(reason: String, pause: Duration)] { state.withLock { $0.interruptions } }

        func take(_ event: ChatEvent) {
            switch event {
            case .token(let index, let text):
                state.withLock { state in
                    #expect(index == state.texts.count)
                    state.texts.append(text)
                }
            case .interrupted(let reason, _, let pause):
                state.withLock { $0.interruptions.append((reason, pause)) }
            case .connected, .notice: break
            }
        }
    }

    /// Begins turns and follows each, does `disturb` when all are under way, and checks that all came through whole.
    func whileFollowing(
        _ count: Int, _ cluster: Cluster, _ http: HTTPClient, at gateways: [Gateway], from first: Int,
        tokens: Int = GatewayDeathTests.tokens, disturb: ([Followed]) async throws -> Void
    ) async throws -> [(Followed, FollowedTurn)] {
        let followed = (0..<count).map { _ in Followed() }
        let client = try client(cluster, http, gateways)
        var tasks: [(id: String, task: Task<FollowedTurn, any Error>)] = []
        for (index, one) in followed.enumerated() {
            let id = try await client.begin(request(first + index, tokens: tokens))
            tasks.append((id, Task { try await client.follow(id) { one.take($0) } }))
        }
        try await eventually("all are under way", or: { cluster.logs }) { followed.allSatisfy { $0.count >= 5 } }
        try await disturb(followed)
        var results: [(Followed, FollowedTurn)] = []
        for (one, (id, task)) in zip(followed, tasks) {
            let turn = try await task.value
            #expect(turn.end.status == "done" && turn.end.usage.completionTokens == tokens)
            #expect(one.count == tokens && turn.duplicates == 0 && turn.gaps == 0)
            // What came through in pieces is what a client gets that was never disturbed.
            #expect(try await cluster.stream(id).text == one.text)
            results.append((one, turn))
        }
        return results
    }

    private func aKilledGatewayIsMadeGood(_ cluster: Cluster, _ http: HTTPClient) async throws {
        let first = try await gateway(cluster)
        let second = try await gateway(cluster)
        let ends = try await whileFollowing(8, cluster, http, at: [first, second], from: 0) { _ in
            _ = await first.process.ended(by: SIGKILL)
        }
        for (one, turn) in ends { #expect(turn.reconnects >= 1 && !one.interruptions.isEmpty) }
        // Whoever begins with the dead one is served all the same.
        let id = try await client(cluster, http, [first, second]).begin(request(50, tokens: 1))
        #expect(try await cluster.stream(id).isDone)
        _ = await second.process.ended(by: SIGKILL)
    }

    private func aDrainSendsClientsOnWithoutLoss(_ cluster: Cluster, _ http: HTTPClient) async throws {
        let first = try await gateway(cluster, drain: "500ms")
        let second = try await gateway(cluster)
        let ends = try await whileFollowing(8, cluster, http, at: [first, second], from: 100) { _ in
            let status = Task { await first.process.ended(by: SIGTERM) }
            try await eventually("it drains", or: { first.process.log }) { first.process.log.contains("draining") }
            // Nobody new is let in.
            await #expect(throws: (any Error).self) {
                try await http.get(url: first.url + "/health").get()
            }
            #expect(await status.value == 0, "\(first.process.log.suffix(2000))")
        }
        for (one, turn) in ends {
            // Sent away once, in good order, with a pause of the gateway's choice.
            #expect(turn.reconnects == 1 && one.interruptions.count == 1)
            #expect(
                one.interruptions.allSatisfy { $0.pause <= .milliseconds(500) && $0.reason.contains("ended before") })
        }
        #expect(Set(ends.flatMap { $0.0.interruptions.map(\.pause) }).count > 1, "the pauses are spread")

        // A stream that ends within the time it is given is not cut.
        let third = try await gateway(cluster, drain: "30s")
        let kept = try await whileFollowing(1, cluster, http, at: [third], from: 200, tokens: 40) { _ in
            #expect(await third.process.ended(by: SIGTERM) == 0)
        }
        #expect(kept.allSatisfy { $0.1.reconnects == 0 })
        _ = await second.process.ended(by: SIGKILL)
    }

    private func theSecondSignalIsAtOnce(_ cluster: Cluster, _ http: HTTPClient) async throws {
        let first = try await gateway(cluster, drain: "10m")
        let second = try await gateway(cluster)
        _ = try await whileFollowing(1, cluster, http, at: [first, second], from: 300) { _ in
            first.process.signal(SIGTERM)
            try await eventually("it drains", or: { first.process.log }) { first.process.log.contains("draining") }
            #expect(await first.process.ended(by: SIGTERM) == 128 + SIGTERM)
        }
        _ = await second.process.ended(by: SIGKILL)
    }

    /// Two lines in, two answers out, the first of the gateways being dead; the second turn knows of the first.
    private func theChatReadsAPipe(_ cluster: Cluster) async throws {
        let lines = cluster.folder + "/lines"
        try "One.\n/set max_tokens 3\nTwo.".write(toFile: lines, atomically: true, encoding: .utf8)
        let dead = "http://127.0.0.1:\(try freePort())"
        let environment = cluster.environment.merging([
            "CHAT_API_KEY": cluster.key, "CHAT_GATEWAYS": "\(dead),http://127.0.0.1:\(cluster.port)",
        ]) { $1 }
        let output = try await Executable.output(
            "switchboard", ["chat", "--user", "piper", "--max-tokens", "5", "--seed", "1"], environment: environment,
            input: lines)
        #expect(output.split(separator: "\n").count == 2, "\(output)")
        await #expect(throws: HarnessError.self, "a chat whose last turn failed says so") {
            try await Executable.output(
                "switchboard", ["chat", "--user", "piper", "--model", "none"], environment: environment, input: lines)
        }
    }

    // MARK: Turns

    private func cancellingEndsATurnWhereverItIs(_ cluster: Cluster) async throws {
        let other = try await Executable.output(
            "switchboard", ["keys", "create", "--name", "else", "--tenant", "else"], environment: cluster.environment)
        let long: [String: Any] = ["message": "Write a long story.", "max_tokens": 4000]
        func delete(_ id: String, key: String = "") async throws -> HTTPAnswer {
            try await cluster.send("DELETE", "/stream/\(id)", body: nil, key: key)
        }

        // While it runs.
        let running = try await cluster.beginStream(long.merging(["user_id": "runner"]) { $1 })
        let reader = Task { try await cluster.stream(running) }
        _ = try await cluster.stream(running) { $0.events.count >= 3 }
        #expect(try await delete(running, key: other).status == 404)
        let answer = try await delete(running)
        #expect(answer.status == 202 && answer.json["status"] as? String == "cancelling")
        let read = try await reader.value
        #expect(read.end?.status == "cancelled" && read.events.count < 4000)
        let outcome = try await settled(running, cluster)
        #expect(outcome.status == .cancelled && outcome.response == read.text)
        // Again, after its end: nothing more to do, and it says so.
        let again = try await delete(running)
        #expect(again.status == 200 && again.json["status"] as? String == "cancelled")

        // While it waits in its queue, for a reader or for nobody.
        cluster.orchestrator.signal(SIGSTOP)
        let queued = try await cluster.beginStream(long.merging(["user_id": "waiter"]) { $1 })
        let later = try await cluster.post("/async-chat", long.merging(["user_id": "sleeper"]) { $1 })
        let batch = try #require(later.json["correlation_id"] as? String)
        #expect(try await delete(queued).status == 202)
        #expect(try await delete(batch).status == 202)
        cluster.orchestrator.signal(SIGCONT)
        #expect(try await cluster.stream(queued).end?.status == "cancelled")
        #expect(try await settled(queued, cluster).response.isEmpty)
        #expect(try await settled(batch, cluster).status == .cancelled)
        #expect(try await cluster.get("/check-response/\(batch)").status == 409)

        #expect(try await delete("nonsense").status == 404)
        #expect(try await delete("01903645-bb87-7000-8000-000000000000").status == 404)
    }

    private func anIdThatRedisForgotIsWaitedFor(_ cluster: Cluster, _ http: HTTPClient) async throws {
        _ = await cluster.orchestrator.ended(by: SIGKILL)
        let client = try ChatClient(
            .init(gateways: ["http://127.0.0.1:\(cluster.port)"], apiKey: cluster.key), http: http)
        let id = try await client.begin(request(400))
        try await withRedis(cluster) { redis in _ = try await redis.send("FLUSHALL") }
        // Nobody knows the turn now but the broker.
        #expect(try await cluster.get("/check-response/\(id)").status == 202)
        let followed = Followed()
        let follower = Task { try await client.follow(id) { followed.take($0) } }
        // A turn that was accepted well after the loss would be known. Only the id is made here: with nobody to run
        // them, a user's turns would be refused long before.
        var random = SystemRandomNumberGenerator()
        try await eventually("what was never accepted is unknown", or: { cluster.logs }) {
            let young = TurnID(milliseconds: UInt64(Date().timeIntervalSince1970 * 1000), using: &random)
            return try await cluster.get("/check-response/\(young)").status == 404
        }

        let second = try cluster.another("orchestrator")
        let turn = try await follower.value
        #expect(turn.end.status == "done" && followed.count == GatewayDeathTests.tokens && turn.reconnects == 0)

        // Lost again in the middle: the same place, and not a token twice.
        let again = try await client.begin(request(401))
        let interrupted = Followed()
        let reader = Task { try await client.follow(again) { interrupted.take($0) } }
        try await eventually("it is under way") { interrupted.count >= 10 }
        try await withRedis(cluster) { redis in _ = try await redis.send("FLUSHALL") }
        let whole = try await reader.value
        #expect(whole.end.status == "done" && interrupted.count == GatewayDeathTests.tokens)
        #expect(whole.reconnects == 0 && whole.duplicates == 0)
        _ = await second.ended(by: SIGKILL)
    }
}
