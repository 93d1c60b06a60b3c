import Foundation
import RedisStore
import ServiceHarness
import Testing

/// Nodes that are killed, stopped, hang, leave, or work for nobody any more. The engine is simulated: its tokens are as
/// repeatable as a model's.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct NodeDeathTests {
    private let engine = ["serve", "--engine", "simulated", "--ttft-ms", "20", "--itl-ms", "15"]

    /// What a client saw of a stream, and the longest time that it waited for the next token.
    private struct Watched {
        let read: ReadStream
        let longestPause: Duration
    }

    private func watch(_ id: String, _ cluster: Cluster) async throws -> Watched {
        var last: ContinuousClock.Instant?
        var longest = Duration.zero
        var count = 0
        let read = try await cluster.stream(id) { read in
            guard read.events.count > count else { return false }
            count = read.events.count
            if let last { longest = max(longest, last.duration(to: .now)) }
            last = .now
            return false
        }
        return Watched(read: read, longestPause: longest)
    }

    private func body(_ user: String, tokens: Int = 200) -> [String: Any] {
        ["message": "Go on.", "user_id": user, "max_tokens": tokens, "seed": 5]
    }

    @Test(.timeLimit(.minutes(3))) func aStreamGoesOnWhateverBecomesOfItsNode() async throws {
        let cluster = try await Cluster(
            .simulated(ttft: 20, itl: 15), settings: ["TURN_BATCH_DEADLINE": "4s", "NODE_DRAIN": "20s"])
        let undisturbed = try await watch(try await cluster.beginStream(body("nobody")), cluster).read
        try #require(undisturbed.events.count == 200)
        var pauses: [String: Duration] = [:]

        // Killed: whoever listened at it is gone at once.
        let second = try await disturb("SIGKILL", cluster, undisturbed, &pauses) {
            try await joined(cluster, engine)
        } by: {
            cluster.node.signal(SIGKILL)
        }
        // Stopped, with the connections standing. It wakes up later, and nobody hears its old tokens.
        let third = try await disturb("SIGSTOP", cluster, undisturbed, &pauses) {
            try await joined(cluster, engine)
        } by: {
            second.signal(SIGSTOP)
        }
        second.signal(SIGCONT)
        try await eventually("the stopped node is back", or: { second.log }) {
            let count = try await nodes(cluster).count
            return second.log.contains("the node stood still") && count == 2
        }
        // An engine that stands still while its node's heart beats.
        let hanging = try await joined(cluster, engine + ["--hang-after-ms", "1500"])
        for node in [second, third] { _ = await node.ended(by: SIGKILL) }
        try await eventually("one node is left") { try await nodes(cluster).count == 1 }
        let last = try await disturb("hang", cluster, undisturbed, &pauses) {
            try await joined(cluster, engine)
        } by: {
        }
        #expect(cluster.orchestrator.log.contains("hangs"))
        try await eventually("the hanging node is to be started again", or: { hanging.log }) {
            let answer = try await hanging.asked("/livez")
            return answer.status == 503 && answer.text == "the engine has work and makes no step\n"
        }
        _ = await hanging.ended(by: SIGKILL)

        // The node itself ends what nobody can want any more: the only other one who could is stopped. What the
        // hanging node announced last, and this one of the turn before, must not pass for work on this turn.
        try await eventually("one node is left, and idle", or: { last.log }) {
            try await nodes(cluster).map(\.running) == [0]
        }
        let late = try await cluster.post("/async-chat", body("late", tokens: 4000))
        try await eventually("the node runs it", or: { cluster.logs }) {
            try await nodes(cluster).contains { $0.running == 1 }
        }
        cluster.orchestrator.signal(SIGSTOP)
        try await eventually("the node dropped it", or: { last.log }) { last.log.contains("past their deadline") }
        cluster.orchestrator.signal(SIGCONT)
        let outcome = try await settled(try #require(late.json["correlation_id"] as? String), cluster)
        #expect(outcome.status == .failed)

        // A node that is told to go finishes what it has.
        let id = try await cluster.beginStream(body("last", tokens: 80))
        let follower = Task { try await watch(id, cluster) }
        _ = try await cluster.stream(id) { $0.events.count >= 10 }
        let status = await last.ended(by: SIGTERM)
        let finished = try await follower.value
        #expect(finished.read.events == Array(undisturbed.events.prefix(80)) && status == 0)
        #expect(try await settled(id, cluster).attempts == 1, "\(last.log.suffix(2000))")
        pauses["SIGTERM"] = finished.longestPause
        print("longest pauses of a stream:", pauses.mapValues { "\($0 / .milliseconds(1)) ms" })
        await cluster.stop()
    }

    /// Begins a stream at the one node there is, brings in another, lets `harm` happen, and expects the same tokens.
    private func disturb(
        _ what: String, _ cluster: Cluster, _ undisturbed: ReadStream, _ pauses: inout [String: Duration],
        successor: () async throws -> ServiceProcess, by harm: () -> Void
    ) async throws -> ServiceProcess {
        let id = try await cluster.beginStream(body(what))
        let follower = Task { try await watch(id, cluster) }
        _ = try await cluster.stream(id) { $0.events.count >= 20 }
        let successor = try await successor()
        harm()
        let watched = try await follower.value
        #expect(watched.read.events == undisturbed.events && watched.read.isDone, "\(what)")
        #expect(try await settled(id, cluster).attempts >= 2, "\(what): \(cluster.orchestrator.log.suffix(3000))")
        pauses[what] = watched.longestPause
        return successor
    }

    /// Another node, as soon as it can take turns.
    private func joined(_ cluster: Cluster, _ arguments: [String]) async throws -> ServiceProcess {
        let before = Set(try await nodes(cluster).map(\.id))
        let node = try cluster.another("inference-node", arguments)
        try await eventually("another node is there", or: { node.log }) {
            !before.isSuperset(of: try await nodes(cluster).map(\.id))
        }
        return node
    }

    private func nodes(_ cluster: Cluster) async throws -> [NodeAnnouncement] {
        try await withRedis(cluster) { try await NodeDirectory(pool: $0).nodes() }
    }
}
