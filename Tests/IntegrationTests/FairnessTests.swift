import ChatCore
import Foundation
import Logging
import PostgresStore
import RedisStore
import ServiceHarness
import Testing

/// Two orchestrators, one node with eight places, and one user who wants all of it.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct FairnessTests {
    private static let places = 8

    @Test(.timeLimit(.minutes(3))) func aBusyUserDelaysAnotherByOneSlot() async throws {
        // Without limits: it is fairness alone that helps here.
        let cluster = try await Cluster(
            .simulated(ttft: 20, itl: 20),
            settings: [
                "MAX_CONCURRENT": "\(Self.places)", "RATE_LIMIT_STREAM": "0", "MAX_OUTSTANDING_PER_USER": "1000",
                "ADMISSION_STANDARD": "0s",
            ])
        let second = try cluster.another("orchestrator")
        try await eventually("two orchestrators share the places", or: { second.log }) {
            try await consumers(cluster) == 2
        }
        let busy = try await withThrowingTaskGroup(of: [String].self) { group in
            for _ in 0..<10 {
                group.addTask {
                    var ids: [String] = []
                    for _ in 0..<16 { ids.append(try await begin("busy", cluster)) }
                    return ids
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        // Planning is not what is looked at: a debug build takes its time for so many prompts.
        try await eventually("the busy user's turns wait for places", or: { second.log }) {
            try await unplanned(of: "busy", cluster) <= Self.places
        }
        let node = Task { try await longestQueue(cluster) }
        let lone = try await settled(try await begin("lone", cluster), cluster)
        try #require(lone.status == .done)
        node.cancel()
        // The node's own queue is in the order of arrival: whoever waits there is beyond all fairness. All places of the
        // simulated node become free in the same moment, and their next turns arrive together.
        #expect(try await node.value <= Self.places)
        // The rest would take a while and shows nothing more.
        let started = try await firstTokens(of: busy, cluster)
        let firstToken = try #require(lone.firstTokenAt)
        // Turns that began before the lone one was accepted were in their places. Those between began in the moment in
        // which it came, or with it in the next slot; first come first served, they would be all that were waiting.
        let overtaking = started.filter { $0 > lone.acceptedAt + 40 && $0 < firstToken }.count
        #expect(started.count >= Self.places, "the busy user's turns run")
        #expect(overtaking < 2 * Self.places, "\(overtaking) of \(started.count) went first")
        print("the lone turn's first token came after \(firstToken - lone.acceptedAt) ms, behind \(overtaking) turns")
        _ = await second.ended(by: SIGKILL)
        await cluster.stop()
    }

    /// Turns of the user that neither wait for a place nor have one; announcements are a moment old.
    private func unplanned(of user: String, _ cluster: Cluster) async throws -> Int {
        try await withRedis(cluster) { redis in
            let key = UserKey(tenant: "default", user: user)
            let loads = try await LoadDirectory(pool: redis).loads()
            let waiting = loads.reduce(0) { $0 + $1.waitingTurns }
            return try await OutstandingTurns(pool: redis).count(of: key) - waiting - Self.places
        }
    }

    /// The most turns that waited at the node, until the task is cancelled.
    private func longestQueue(_ cluster: Cluster) async throws -> Int {
        try await withRedis(cluster) { redis in
            var longest = 0
            while !Task.isCancelled {
                let nodes = (try? await NodeDirectory(pool: redis).nodes()) ?? []
                longest = max(longest, nodes.map(\.waiting).max() ?? 0)
                try? await Task.sleep(for: .milliseconds(20))
            }
            return longest
        }
    }

    /// When the settled ones of these turns had their first token.
    private func firstTokens(of turns: [String], _ cluster: Cluster) async throws -> [Int64] {
        let database = try ShardedDatabase(
            configuration: try DatabaseConfiguration(shards: cluster.shards.joined(separator: ","), poolSize: 1),
            logger: Logger(label: "fairness"))
        let running = Task { try await database.run() }
        defer { running.cancel() }
        let conversations = ConversationRepository(database: database)
        var times: [Int64] = []
        for turn in turns.compactMap({ TurnID($0) }) {
            if let time = try await conversations.turn(turn, tenant: "default")?.firstTokenAt { times.append(time) }
        }
        return times
    }

    private func begin(_ user: String, _ cluster: Cluster) async throws -> String {
        try await cluster.beginStream(["message": "Go on.", "user_id": user, "max_tokens": 20, "seed": 5])
    }

    private func consumers(_ cluster: Cluster) async throws -> Int {
        let answer = try await cluster.get("/debug/queue-stats")
        let queue = answer.json["stream_queue"] as? [String: Any]
        return queue?["consumer_count"] as? Int ?? 0
    }
}
