import Hummingbird
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import gateway

/// Clients that pipeline without reading, send slowly, or send what nobody wants, on real sockets.
@Suite struct MisbehavingClientTests {
    /// What waits in the server for a client, at most (bytes).
    private final class Buffered: Sendable {
        let largest = Mutex(0)
        func see(_ bytes: Int) { largest.withLock { $0 = max($0, bytes) } }
        var seen: Int { largest.withLock { $0 } }
    }

    private static let answerBytes = 8 << 10

    private func router(_ buffered: Buffered) -> Router<GatewayRequestContext> {
        let router = Router(context: GatewayRequestContext.self)
        router.add(middleware: ErrorMiddleware())
        router.get("/hello") { _, _ in "hello" }
        router.get("/number/{number}") { _, context in try context.parameters.require("number") }
        router.get("/much") { _, context in
            buffered.see(try await context.connection.channel.getOption(.bufferedWritableBytes).get())
            return String(repeating: "x", count: MisbehavingClientTests.answerBytes)
        }
        router.post("/deaf") { _, _ in "no" }
        router.post("/size") { request, _ in "\(try await request.body.collect(upTo: 1 << 20).readableBytes)" }
        router.post("/early") { _, context in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    context.connection.leaveWithClient()
                    try await writer.write(ByteBuffer(string: "early"))
                    try await Task.sleep(for: .seconds(600))
                })
        }
        return router
    }

    @Test func whoPipelinesWithoutReadingIsNotAnsweredAhead() async throws {
        let buffered = Buffered()
        let count = 20_000
        try await LiveServer.run(router(buffered)) { port, _ in
            let client = try await LiveServer.deafClient(port)
            let request = "GET /much HTTP/1.1\r\nHost: x\r\n\r\n"
            client.writeAndFlush(ByteBuffer(string: String(repeating: request, count: count)), promise: nil)
            // The sockets are full: something waits in the server.
            try await LiveServer.eventually { buffered.seen > 0 }
            // Others are served, which gives the server time to do more for the first.
            for _ in 0..<200 {
                let answer = try await LiveServer.exchange(
                    port, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                #expect(answer.hasSuffix("hello"))
            }
            #expect(buffered.seen < 256 << 10)
            try await client.close()
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let count = 14_000
        try await LiveServer.run(router(Buffered())) { port, _ in
            let requests = (0..<count).map { "GET /number/\($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined()
            let text = try await LiveServer.exchange(
                port, requests + "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            let numbers = text.components(separatedBy: "HTTP/1.1 200 OK\r\n").dropFirst()
                .map { $0.components(separatedBy: "\r\n\r\n").last ?? "" }
            #expect(numbers == (0..<count).map(String.init) + ["hello"])
        }
    }

    @Test func aBodyThatTricklesIsGivenUp() async throws {
        // However fast a test's machine sends, it earns nothing.
        let limits = ConnectionClock.Limits(
            bodyGrace: .milliseconds(100), leastBodyRate: 1 << 30, closing: .milliseconds(100))
        try await LiveServer.run(router(Buffered()), limits: limits) { port, connections in
            for (length, bytes) in [(16_000, ""), (1_000_000, "x")] {
                let sent = try await LiveServer.sendUntilClosed(
                    port, "POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: \(length)\r\n\r\n", then: bytes)
                #expect(sent < length)
            }
            try await LiveServer.eventually { connections.count == 0 }
        }
    }

    @Test(arguments: [
        ("Content-Length: 10", "abc"), ("Content-Length: 10", ""), ("Content-Length: 100000", "abc"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n"), ("Transfer-Encoding: chunked", "3"),
    ])
    func whoseBodyDoesNotComeInTimeIsToldSo(field: String, begun: String) async throws {
        let limits = ConnectionClock.Limits(bodyGrace: .milliseconds(100), closing: .milliseconds(100))
        try await LiveServer.run(router(Buffered()), limits: limits) { port, connections in
            let head = "POST /size HTTP/1.1\r\nHost: x\r\n\(field)\r\n\r\n"
            let text = try await LiveServer.exchange(port, head + begun)
            #expect(text.hasPrefix("HTTP/1.1 408 ") && text.contains("{\"error\":{\"code\":\"timeout\","), "\(text)")
            #expect(text.lowercased().contains("connection: close\r\n"))
            #expect(text.components(separatedBy: "\r\nServer: ").count == 2, "one answer and no other: \(text)")
            // What was answered before it stays answered.
            let behind = try await LiveServer.exchange(port, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" + head + begun)
            #expect(behind.hasPrefix("HTTP/1.1 200 ") && behind.contains("HTTP/1.1 408 "), "\(behind)")
            try await LiveServer.eventually { connections.count == 0 }
        }
    }

    @Test(.timeLimit(.minutes(1))) func anAnswerThatHasBegunIsCutAndNotFollowedByAnother() async throws {
        // The answer has to begin within the body's time, on a machine that does much else.
        let limits = ConnectionClock.Limits(bodyGrace: .seconds(5))
        try await LiveServer.run(router(Buffered()), limits: limits) { port, connections in
            let text = try await LiveServer.exchange(
                port, "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
            #expect(text.hasPrefix("HTTP/1.1 200 ") && text.contains("early") && !text.contains("408"), "\(text)")
            try await LiveServer.eventually { connections.count == 0 }
        }
    }

    @Test func aBodyThatNobodyWantsIsReadToABound() async throws {
        try await LiveServer.run(router(Buffered())) { port, connections in
            let piece = String(repeating: "x", count: 4096)
            let sent = try await LiveServer.sendUntilClosed(
                port, "POST /deaf HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                then: "1000\r\n\(piece)\r\n")
            // What is dropped, and what sockets hold.
            #expect(sent < 64 << 20)
            try await LiveServer.eventually { connections.count == 0 }
        }
    }

    @Test func anAnswerThatIsNotTakenEndsItsConnection() async throws {
        try await LiveServer.run(router(Buffered()), limits: .init(idle: .seconds(10))) { port, connections in
            let client = try await LiveServer.deafClient(port)
            let request = "GET /much HTTP/1.1\r\nHost: x\r\n\r\n"
            client.writeAndFlush(ByteBuffer(string: String(repeating: request, count: 5000)), promise: nil)
            try await LiveServer.eventually { connections.count == 1 }
            try await LiveServer.eventually { connections.count == 0 }
            try? await client.close()
        }
    }

    @Test func aLengthThatNoNumberHoldsIsRefusedWithItsConnection() async throws {
        try await LiveServer.run(router(Buffered())) { port, _ in
            let text = try await LiveServer.exchange(
                port, "POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\nabc", until: "no")
            #expect(text.hasPrefix("HTTP/1.1 ") && text.lowercased().contains("connection: close"))
        }
    }
}
