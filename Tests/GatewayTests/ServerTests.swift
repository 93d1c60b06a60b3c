import Hummingbird
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import gateway

/// The server on a real socket: what clients may do to a connection.
@Suite struct ServerTests {
    /// What happened in the routes below.
    private final class Events: Sendable {
        let seen = Mutex<[String]>([])
        func add(_ event: String) { seen.withLock { $0.append(event) } }
        func contains(_ event: String) -> Bool { seen.withLock { $0.contains(event) } }
    }

    private static func router(_ events: Events) -> Router<GatewayRequestContext> {
        let router = Router(context: GatewayRequestContext.self)
        router.get("/hello") { _, _ in "hello" }
        router.post("/size") { request, _ in
            "\(try await request.body.collect(upTo: 1 << 20).readableBytes)"
        }
        router.post("/deaf") { _, _ in "no" }
        router.get("/endless") { _, context in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    context.connection.leaveWithClient()
                    events.add("begun")
                    do {
                        while true {
                            try await writer.write(ByteBuffer(string: "tick\n"))
                            try await Task.sleep(for: .milliseconds(1))
                        }
                    } catch {
                        events.add("left")
                        throw error
                    }
                })
        }
        router.get("/flood") { _, context in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    context.connection.leaveWithClient()
                    let chunk = ByteBuffer(repeating: 120, count: 1 << 20)
                    for number in 0..<1000 {
                        try await writer.write(chunk)
                        events.add("chunk \(number)")
                    }
                })
        }
        router.get("/broken") { _, _ in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    try await writer.write(ByteBuffer(string: "half"))
                    throw CancellationError()
                })
        }
        return router
    }

    private func withServer(
        limits: ConnectionClock.Limits = .init(), _ body: (Int, Events, OpenConnections) async throws -> Void
    ) async throws {
        let events = Events()
        try await LiveServer.run(ServerTests.router(events), limits: limits) { port, connections in
            try await body(port, events, connections)
        }
    }

    private static let last = "Host: x\r\nConnection: close\r\n\r\n"

    @Test func requestsInOneWriteAreAnsweredInTheirOrder() async throws {
        try await withServer { port, _, _ in
            let text = try await LiveServer.exchange(
                port,
                "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                    + "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\n" + ServerTests.last)
            let bodies = text.components(separatedBy: "\r\n\r\n")
            #expect(bodies.count == 4)
            #expect(bodies[1].hasPrefix("3HTTP/1.1 200") && bodies[2].hasPrefix("helloHTTP/1.1 404"))
        }
    }

    @Test func aLongBodyComesWholeAndAnUnreadOneIsInNobodysWay() async throws {
        let long = String(repeating: "a", count: 900_000)
        try await withServer { port, _, _ in
            let text = try await LiveServer.exchange(
                port,
                "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: \(long.utf8.count)\r\n\r\n\(long)"
                    + "POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: \(long.utf8.count)\r\n\r\n\(long)"
                    + "GET /hello HTTP/1.1\r\n" + ServerTests.last)
            #expect(text.contains("\r\n\r\n900000HTTP") && text.hasSuffix("hello"))
        }
    }

    @Test func aClientThatEndedItsSideStillGetsAShortAnswer() async throws {
        try await withServer { port, _, _ in
            let text = try await LiveServer.exchange(port, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", endsInput: true)
            #expect(text.hasSuffix("hello"))
        }
    }

    @Test func aStreamEndsWithItsClient() async throws {
        try await withServer { port, events, connections in
            _ = try await LiveServer.exchange(port, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", until: "tick\n")
            try await LiveServer.eventually { events.contains("left") && connections.count == 0 }
        }
    }

    @Test func aStreamEndsWhenItsClientOnlyEndsItsSide() async throws {
        try await withServer { port, events, _ in
            let text = try await LiveServer.exchange(port, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", endsInput: true)
            #expect(events.contains("left"))
            #expect(!text.hasSuffix("0\r\n\r\n"))
        }
    }

    @Test func whoDoesNotReadIsNotWrittenTo() async throws {
        try await withServer { port, events, connections in
            let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.autoRead, value: false).connect(host: "127.0.0.1", port: port).get()
            try await client.writeAndFlush(ByteBuffer(string: "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n"))
            try await LiveServer.eventually { events.contains("chunk 0") }
            // Sockets take a few megabytes; a thousand they do not.
            #expect(!events.contains("chunk 900"))
            try await client.close()
            try await LiveServer.eventually { connections.count == 0 }
            #expect(!events.contains("chunk 999"))
        }
    }

    @Test func anAnswerThatFailsHalfwayIsNotTakenForWhole() async throws {
        try await withServer { port, _, _ in
            let text = try await LiveServer.exchange(port, "GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(text.contains("half") && !text.hasSuffix("0\r\n\r\n"))
        }
    }

    @Test func whatIsNoRequestGets400() async throws {
        try await withServer { port, _, _ in
            let text = try await LiveServer.exchange(port, "rubbish\r\n\r\n")
            #expect(text.hasPrefix("HTTP/1.1 400"))
        }
    }

    @Test func aConnectionThatSaysNothingIsClosed() async throws {
        // Whoever has not said what it wants gets no answer; who has, and sends no more of the body, gets one.
        let head = "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        try await withServer(limits: .init(idle: .milliseconds(50))) { port, _, connections in
            #expect(try await LiveServer.exchange(port, head) == "")
            try await LiveServer.eventually { connections.count == 0 }
        }
        // Its time begins when the head is there, however late that comes.
        try await withServer(limits: .init(bodyGrace: .milliseconds(50))) { port, _, connections in
            let text = try await LiveServer.exchange(port, head + "\r\nab")
            #expect(text.hasPrefix("HTTP/1.1 408 "), "\(text)")
            try await LiveServer.eventually { connections.count == 0 }
        }
    }
}
