import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import ServiceKit
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
        idle: Duration = .seconds(60), _ body: (Int, Events, OpenConnections) async throws -> Void
    ) async throws {
        let (events, connections) = (Events(), OpenConnections())
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let server = Server(
            childChannelSetup: GatewayChannel(
                answerer: Answerer(
                    responder: ServerTests.router(events).buildResponder(), serverName: "test", date: DateHeader(),
                    logger: logger), idleTimeout: idle, connections: connections),
            configuration: ServerConfiguration(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { port.yield($0.localAddress?.port ?? 0) },
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            for await number in ports {
                try await body(number, events, connections)
                break
            }
            try await server.shutdownGracefully()
            group.cancelAll()
        }
    }

    /// Sends bytes, ends its side if told to, and gives what came until the server closed, or until `until` came.
    private func exchange(
        _ port: Int, _ request: String, endsInput: Bool = false, until: String? = nil
    ) async throws -> String {
        let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        return try await client.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: request))
            if endsInput { outbound.finish() }
            var text = ""
            for try await bytes in inbound {
                text += String(buffer: bytes)
                if let until, text.contains(until) { break }
            }
            return text
        }
    }

    private func eventually(_ condition: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(20)
        while !condition() {
            try #require(ContinuousClock.now < end, "not within 20 s")
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    private static let last = "Host: x\r\nConnection: close\r\n\r\n"

    @Test func requestsInOneWriteAreAnsweredInTheirOrder() async throws {
        try await withServer { port, _, _ in
            let text = try await exchange(
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
            let text = try await exchange(
                port,
                "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: \(long.utf8.count)\r\n\r\n\(long)"
                    + "POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: \(long.utf8.count)\r\n\r\n\(long)"
                    + "GET /hello HTTP/1.1\r\n" + ServerTests.last)
            #expect(text.contains("\r\n\r\n900000HTTP") && text.hasSuffix("hello"))
        }
    }

    @Test func aClientThatEndedItsSideStillGetsAShortAnswer() async throws {
        try await withServer { port, _, _ in
            let text = try await exchange(port, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", endsInput: true)
            #expect(text.hasSuffix("hello"))
        }
    }

    @Test func aStreamEndsWithItsClient() async throws {
        try await withServer { port, events, connections in
            _ = try await exchange(port, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", until: "tick\n")
            try await eventually { events.contains("left") && connections.count == 0 }
        }
    }

    @Test func aStreamEndsWhenItsClientOnlyEndsItsSide() async throws {
        try await withServer { port, events, _ in
            let text = try await exchange(port, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", endsInput: true)
            #expect(events.contains("left"))
            #expect(!text.hasSuffix("0\r\n\r\n"))
        }
    }

    @Test func whoDoesNotReadIsNotWrittenTo() async throws {
        try await withServer { port, events, connections in
            let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.autoRead, value: false).connect(host: "127.0.0.1", port: port).get()
            try await client.writeAndFlush(ByteBuffer(string: "GET /flood HTTP/1.1\r\nHost: x\r\n\r\n"))
            try await eventually { events.contains("chunk 0") }
            // Sockets take a few megabytes; a thousand they do not.
            #expect(!events.contains("chunk 900"))
            try await client.close()
            try await eventually { connections.count == 0 }
            #expect(!events.contains("chunk 999"))
        }
    }

    @Test func anAnswerThatFailsHalfwayIsNotTakenForWhole() async throws {
        try await withServer { port, _, _ in
            let text = try await exchange(port, "GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(text.contains("half") && !text.hasSuffix("0\r\n\r\n"))
        }
    }

    @Test func whatIsNoRequestGets400() async throws {
        try await withServer { port, _, _ in
            let text = try await exchange(port, "rubbish\r\n\r\n")
            #expect(text.hasPrefix("HTTP/1.1 400"))
        }
    }

    @Test func aConnectionThatSaysNothingIsClosed() async throws {
        try await withServer(idle: .milliseconds(50)) { port, _, connections in
            let text = try await exchange(port, "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
            #expect(text == "")
            try await eventually { connections.count == 0 }
        }
    }
}
