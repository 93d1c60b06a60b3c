import ChatCore
import Hummingbird
import NIOCore
import NIOPosix
import PostgresStore
import RedisStore
import Synchronization
import Testing

@testable import gateway

/// Streams on real sockets, whose hints come from the test. Redis is away: what the log would say nobody learns.
@Suite struct StreamAnswerTests {
    private let turn: TurnID
    private let relay: TurnRelay
    /// The connection on which the turn is followed.
    private let followed = Followed()

    private final class Followed: Sendable {
        private let connection = Mutex<ClientConnection?>(nil)
        var isStalled: Bool { connection.withLock { $0.map { !$0.hasRoom } ?? false } }
        func set(_ new: ClientConnection) { connection.withLock { $0 = new } }
    }

    init() throws {
        var random = SystemRandomNumberGenerator()
        turn = TurnID(milliseconds: 1, using: &random)
        let redis = RedisPool(configuration: RedisConfiguration(port: 1), logger: LiveServer.logger)
        let database = try ShardedDatabase(
            configuration: DatabaseConfiguration(shards: "postgresql://u:p@127.0.0.1:1/d", poolSize: 1),
            logger: LiveServer.logger)
        let finder = TurnFinder(
            log: TurnLog(pool: redis),
            settled: SettledTurns(
                conversations: ConversationRepository(database: database), logger: LiveServer.logger),
            generation: GenerationMark(pool: redis), clock: RedisClock(pool: redis), horizon: .seconds(1))
        relay = TurnRelay(
            name: "test", finder: finder, places: .init(all: 1, share: 100), redis: RedisConfiguration(port: 1),
            logger: LiveServer.logger)
    }

    private func withStream(
        isKnown: Bool = true, limits: ConnectionClock.Limits = .init(),
        _ body: (Int, OpenConnections) async throws -> Void
    ) async throws {
        let router = Router(context: GatewayRequestContext.self)
        let place = TurnReader.Place(turn: turn, tenant: "t", key: "k", from: 0, isKnown: isKnown)
        let environment = StreamAnswer.Environment(
            relay: relay, heartbeat: .seconds(60), writeTime: .init(label: "test"), logger: LiveServer.logger)
        router.get("/stream") { _, context in
            followed.set(context.connection)
            return Response(
                status: .ok, headers: [.connection: "close"],
                body: ResponseBody { writer in
                    try await writer.write(ByteBuffer(string: ServerSentEvents.heartbeat))
                    try StreamAnswer.begin(of: place, on: context.connection, environment)
                })
        }
        try await LiveServer.run(router, limits: limits, body)
    }

    private func follow(_ port: Int, until: String? = nil) async throws -> String {
        try await LiveServer.exchange(port, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", until: until)
    }

    private func tokens(_ indices: Range<Int>) -> [TurnEvent] { indices.map { .token(index: $0, text: "t\($0)") } }

    private var end: TurnEnd {
        let key = ConversationKey(owner: UserKey(tenant: "t", user: "u"), id: ConversationID(firstTurn: turn))
        return TurnEnd(
            outcome: TurnOutcome(
                turn: turn, conversation: key, beginsConversation: true, kind: .stream, status: .done,
                finishReason: .stop, error: nil, system: nil, message: "m", response: "", eventEnds: [0, 0, 0],
                usage: .init(promptTokens: 1, completionTokens: 3), model: "m", seed: 1, acceptedAt: 0,
                firstTokenAt: nil, endedAt: 5, attempts: 1))
    }

    @Test func hintsAreWrittenOnceAndInOrderUntilTheEnd() async throws {
        try await withStream { port, connections in
            async let text = follow(port)
            try await LiveServer.eventually { relay.readerCount == 1 }
            relay.bring(tokens(0..<2), of: turn)
            relay.bring(tokens(1..<3), of: turn)
            // Nothing that comes too early, and nothing of another turn.
            relay.bring(tokens(7..<8), of: turn)
            var random = SystemRandomNumberGenerator()
            relay.bring(tokens(3..<4), of: TurnID(milliseconds: 2, using: &random))
            relay.bring([.end(next: 3, end)], of: turn)
            let ids = try await text.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("id: ") }
            #expect(ids == ["id: 0", "id: 1", "id: 2"])
            #expect(try await text.contains("data: [DONE]\n\n"))
            try await LiveServer.eventually { relay.readerCount == 0 && connections.count == 0 }
        }
    }

    @Test func nobodyIsGivenWhatIsNotKnownToBeTheirs() async throws {
        try await withStream(isKnown: false) { port, _ in
            async let text = follow(port)
            try await LiveServer.eventually { relay.readerCount == 1 }
            relay.bring(tokens(0..<2), of: turn)
            await relay.drain(grace: .zero)
            #expect(try await !text.contains("id:"))
        }
    }

    @Test func aReaderLeavesWithItsClient() async throws {
        try await withStream { port, connections in
            async let text = follow(port, until: "id: 0")
            try await LiveServer.eventually { relay.readerCount == 1 }
            relay.bring(tokens(0..<1), of: turn)
            _ = try await text
            try await LiveServer.eventually { relay.readerCount == 0 && connections.count == 0 }
        }
    }

    @Test func aDrainAsksTheClientToComeBackElsewhere() async throws {
        try await withStream { port, _ in
            async let text = follow(port)
            try await LiveServer.eventually { relay.readerCount == 1 }
            relay.bring(tokens(0..<1), of: turn)
            await relay.drain(grace: .zero)
            let answer = try await text
            #expect(answer.contains("id: 0") && answer.contains("retry: "))
            #expect(relay.readerCount == 0)
        }
    }

    @Test func aClientThatDoesNotReadIsNotWrittenToWithoutEnd() async throws {
        try await withStream { port, connections in
            let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.autoRead, value: false).connect(host: "127.0.0.1", port: port).get()
            try await client.writeAndFlush(ByteBuffer(string: "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"))
            try await LiveServer.eventually { relay.readerCount == 1 }
            let long = String(repeating: "x", count: 1 << 20)
            // Far more than sockets hold; what finds no room has to be read from the log later.
            for index in 0..<200 { relay.bring([.token(index: index, text: long)], of: turn) }
            try await client.close()
            try await LiveServer.eventually { relay.readerCount == 0 && connections.count == 0 }
        }
    }

    /// Follows the turn without reading, and brings it more than sockets hold.
    private func stall(_ port: Int) async throws -> any Channel {
        let client = try await LiveServer.deafClient(port)
        try await client.writeAndFlush(ByteBuffer(string: "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"))
        try await LiveServer.eventually { relay.readerCount == 1 }
        let long = String(repeating: "x", count: 1 << 20)
        for index in 0..<50 { relay.bring([.token(index: index, text: long)], of: turn) }
        try await LiveServer.eventually { followed.isStalled }
        return client
    }

    @Test func aClientThatStopsReadingLosesItsPlace() async throws {
        try await withStream(limits: .init(idle: .seconds(10))) { port, connections in
            let client = try await stall(port)
            // The client never closes: its socket stays open until the test ends.
            try await LiveServer.eventually { relay.readerCount == 0 && connections.count == 0 }
            try? await client.close()
        }
    }

    @Test func aClientThatStopsReadingHoldsUpNoDrain() async throws {
        try await withStream { port, connections in
            let client = try await stall(port)
            await relay.drain(grace: .zero)
            try await LiveServer.eventually { relay.readerCount == 0 && connections.count == 0 }
            try? await client.close()
        }
    }
}
