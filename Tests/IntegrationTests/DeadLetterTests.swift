import ChatCore
import Foundation
import Logging
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceHarness
import Testing

/// Turns that nobody takes to their end: their clients hear of it, and an operator finds them.
@Suite(.enabled(if: Cluster.hasModel, "needs the model that deploy/local/setup fetches: its tokenizer"), .serialized)
struct DeadLetterTests {
    /// The orchestrator dies with everything it holds and none takes its place. The worker that drains is killed in the
    /// middle: every turn has ended, no letter is kept yet.
    @Test(.timeLimit(.minutes(3))) func turnsOfNobodyEndAndBecomeLettersOnce() async throws {
        let cluster = try await Cluster(
            .simulated(ttft: 1, itl: 500), settings: ["TURN_DEADLINE": "5s", "TURN_BATCH_DEADLINE": "5s"])
        let letters = try Letters(cluster)
        defer { letters.close() }
        let long: [String: Any] = ["message": "Tell me a long story.", "max_tokens": 500, "user_id": "ann"]
        let streams = try await accepted(10) {
            try await cluster.beginStream(long.merging(["user_id": "ann\($0)"]) { $1 })
        }
        let later = try await cluster.post("/async-chat", long)
        let chat = Task { try await cluster.post("/chat", long.merging(["user_id": "bob"]) { $1 }) }
        let follower = Task { try await cluster.stream(streams[0]) }
        _ = try await cluster.stream(streams[0]) { !$0.events.isEmpty }
        _ = await cluster.orchestrator.ended(by: SIGKILL)

        // Three that no gateway accepted in this way: one on its way through the retry ladder, one whose message is
        // damaged, one of a time that nobody can subtract.
        let retried = try await withTurn(cluster) { turn in
            try await publish(
                OutgoingMessage(
                    queue: RetryLadder().queue(rung: 0), body: Array(try JSONEncoder().encode(turn)),
                    id: "\(turn.id)"), cluster)
        }
        let damaged = try await withTurn(cluster) { turn in
            try await publish(OutgoingMessage(turn: turn, body: Array("{\u{0}".utf8), now: turn.acceptedAt), cluster)
        }
        let impossible = try await withTurn(cluster) { turn in
            let body = String(decoding: try JSONEncoder().encode(turn), as: UTF8.self)
                .replacing(#""acceptedAt":\#(turn.acceptedAt)"#, with: #""acceptedAt":\#(Int64.min)"#)
            #expect(body.contains("\(Int64.min)"))
            try await publish(OutgoingMessage(turn: turn, body: Array(body.utf8), now: turn.acceptedAt), cluster)
        }
        let others = [retried, damaged, impossible].map { "\($0.id)" }
        let all = streams + others + [try #require(later.json["correlation_id"] as? String)]

        // The directory does not know letters for a while: clients hear of their turns' ends nevertheless.
        try await letters.hide()
        let end = try #require(try await follower.value.end)
        #expect(end.status == "failed" && end.error?.message == "the turn's deadline has passed")
        for id in all { #expect(try await cluster.stream(id).end?.status == "failed") }
        #expect(try await chat.value.status >= 500)
        _ = await cluster.worker.ended(by: SIGKILL)
        try await letters.show()
        let worker = try cluster.another("queue-worker")
        try await eventually("every letter is kept", or: { worker.log }) {
            try await letters.all().count == all.count + 1
        }
        try await eventually("none is left in the queue") {
            try await messages(in: Topology.deadLetterQueue, cluster) == 0
        }
        let kept = try await letters.all()
        #expect(Set(kept.compactMap(\.turn).map { "\($0)" }).isSuperset(of: all))
        #expect(kept.first { $0.turn == retried.id }?.reason == "the turn's deadline has passed")
        #expect(kept.first { $0.turn == damaged.id }?.reason.hasPrefix("unreadable") == true)
        #expect(kept.first { $0.turn == impossible.id }?.reason.contains("acceptedAt") == true)
        for id in all {
            let outcome = try await settled(id, cluster)
            #expect(outcome.status == .failed && outcome.error != nil)
        }
        #expect(try await letters.settledTurns() == all.count + 1)

        try await commands(cluster, retried)
        _ = await worker.ended(by: SIGKILL)
        await cluster.stop()
    }

    /// What the operator does with them.
    private func commands(_ cluster: Cluster, _ turn: Turn) async throws {
        func run(_ arguments: String...) async throws -> String {
            try await Executable.output("switchboard", ["dead-letters"] + arguments, environment: cluster.environment)
        }
        let line = try #require(try await run("list").split(separator: "\n").first { $0.contains("\(turn.id)") })
        #expect(line.contains("default/carl") && line.hasSuffix("the turn's deadline has passed"))
        let id = try #require(line.split(separator: " ").first.map(String.init))
        #expect(try await run("list", "--tenant", "nobody").isEmpty)
        #expect(try await run("show", id).contains("\"message\" : \"Hi\""))

        let orchestrator = try cluster.another("orchestrator")
        let replayed = try await run("replay", id)
        let outcome = try await settled(replayed, cluster)
        #expect(outcome.status == .done && outcome.replayOf == turn.id, "\(orchestrator.log)")
        #expect(outcome.conversation == turn.conversation && outcome.seed == turn.sampling.seed)
        await #expect(throws: HarnessError.self) { try await run("replay", id) }
        #expect(try await run("show", id).contains("replayed as: \(replayed)"))

        #expect(try await run("drop", id) == "dropped \(id)")
        await #expect(throws: HarnessError.self) { try await run("show", id) }
        _ = await orchestrator.ended(by: SIGKILL)
    }
}

// MARK: What stands in the stores

/// Dead letters and settled turns, as the databases have them.
struct Letters {
    private let database: ShardedDatabase
    private let running: Task<Void, any Error>

    init(_ cluster: Cluster) throws {
        var logger = Logger(label: "tests")
        logger.logLevel = .critical
        let database = try ShardedDatabase(
            configuration: try DatabaseConfiguration(shards: cluster.shards.joined(separator: ","), poolSize: 1),
            logger: logger)
        self.database = database
        running = Task { try await database.run() }
    }

    func close() { running.cancel() }

    func all() async throws -> [DeadLetterRecord] {
        try await DeadLetterRepository(directory: database.directory).list(limit: 1000)
    }

    func hide() async throws { try await database.directory.query("ALTER TABLE dead_letters RENAME TO hidden_letters") }
    func show() async throws { try await database.directory.query("ALTER TABLE hidden_letters RENAME TO dead_letters") }

    /// Turns that stand in their shards; each has its user's message once, or this fails.
    func settledTurns() async throws -> Int {
        var count = 0
        for (_, result) in await database.onAll({ shard throws(DatabaseError) in
            try await shard.pool.query(
                """
                SELECT (SELECT count(*) FROM turns) AS turns,
                    (SELECT count(*) FROM messages WHERE role = 'user') AS messages
                """)
        }) {
            let row = try #require(try result.get().first)
            let turns: Int64 = try row.value("turns")
            #expect(try row.value("messages", as: Int64.self) == turns)
            count += Int(turns)
        }
        return count
    }
}

func accepted(_ count: Int, _ begin: (Int) async throws -> String) async throws -> [String] {
    var ids: [String] = []
    for index in 0..<count { ids.append(try await begin(index)) }
    return ids
}

/// A turn that has its record, as one that a gateway accepted, and is published by `body`.
func withTurn(_ cluster: Cluster, _ body: (Turn) async throws -> Void) async throws -> Turn {
    let turn = try await withRedis(cluster) { redis in
        let now = try await RedisClock(pool: redis).now()
        var random = SystemRandomNumberGenerator()
        let id = TurnID(milliseconds: UInt64(now), using: &random)
        let turn = Turn(
            id: id,
            conversation: ConversationKey(
                owner: UserKey(tenant: "default", user: "carl"), id: ConversationID(firstTurn: id)),
            beginsConversation: true, kind: .batch, message: "Hi", system: nil, context: [], model: "test-model",
            sampling: .init(maxTokens: 2, seed: 7), acceptedAt: now, deadline: now + 4000)
        _ = try await TurnLog(pool: redis).reserve(turn)
        return turn
    }
    try await body(turn)
    return turn
}

func publish(_ message: OutgoingMessage, _ cluster: Cluster) async throws {
    let publisher = RabbitPublisher(
        configuration: try RabbitConfiguration(uri: cluster.environment["RABBITMQ_URI"] ?? ""),
        topology: Topology(queues: []), logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
    let running = Task { try await publisher.run() }
    defer { running.cancel() }
    try await eventually("the message is published") {
        try await publisher.publish(message)
        return true
    }
}

func messages(in queue: String, _ cluster: Cluster) async throws -> Int? {
    let inspector = QueueInspector(
        configuration: try RabbitConfiguration(uri: cluster.environment["RABBITMQ_URI"] ?? ""),
        logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
    let running = Task { try await inspector.run() }
    defer { running.cancel() }
    guard await inspector.waitUntilConnected(timeout: .seconds(20)) else { return nil }
    return try await inspector.statistics(of: [queue])[queue]?.messages
}
