import ChatCore
import HTTPTypes
import Hummingbird
import NIOCore
import Testing

@testable import gateway

/// HTTP as clients expect it, beyond the common case.
@Suite struct ProtocolTests {
    private func router() -> Router<GatewayRequestContext> {
        let router = Router(context: GatewayRequestContext.self)
        router.add(middleware: ErrorMiddleware())
        router.get("/hello") { _, _ in "hello" }
        router.get("/stream/{id}") { _, context in
            guard let id = TurnID(try context.parameters.require("id")) else { throw APIError.unknownTurn }
            return "\(id)"
        }
        router.get("/pieces") { _, _ in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    try await writer.write(ByteBuffer(string: "one"))
                    try await writer.write(ByteBuffer(string: "two"))
                    try await writer.finish(nil)
                })
        }
        router.post("/size") { request, context in
            try await BodyRoom(maximumBytes: 8 << 20).withPlace(of: "") { place in
                let body = try await BodyReader(maximumBytes: 1 << 20).read(
                    request, on: context.connection, into: place)
                return "\(body.readableBytes)"
            }
        }
        router.post("/refused") { _, _ -> Response in throw APIError.unauthorized }
        return router
    }

    private func exchange(_ request: String, until: String? = nil) async throws -> String {
        var answer = ""
        try await LiveServer.run(router()) { port, _ in
            answer = try await LiveServer.exchange(port, request, until: until)
        }
        return answer
    }

    @Test func anOldClientsConnectionEndsWithItsAnswer() async throws {
        // `exchange` returns when the server closes.
        let whole = try await exchange("GET /hello HTTP/1.0\r\n\r\n")
        #expect(whole.hasPrefix("HTTP/1.0 200") && whole.hasSuffix("hello"))
        // No chunks: it knows none.
        let streamed = try await exchange("GET /pieces HTTP/1.0\r\n\r\n")
        #expect(streamed.hasSuffix("\r\n\r\nonetwo"))
    }

    @Test func whoIsRefusedNeedNotSendTheBody() async throws {
        let text = try await exchange(
            "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        #expect(text.hasPrefix("HTTP/1.1 401") && text.lowercased().contains("connection: close"))
    }

    @Test(arguments: [
        "rubbish\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /stream/\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /stream/%FF%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ])
    func whatIsNoRequestGetsAnErrorOfTheOneShape(_ request: String) async throws {
        let text = try await exchange(request)
        #expect(text.hasPrefix("HTTP/1.1 4"), "\(text)")
        #expect(text.contains("\r\n\r\n{\"error\":{\"code\":"), "\(text)")
    }

    @Test(arguments: [
        // Which server it is for (RFC 9112, section 3.2).
        ("GET /hello HTTP/1.1\r\n", 400, #""field":"Host""#),
        ("GET /hello HTTP/1.1\r\nHost: x\r\nhost: y\r\n", 400, #""field":"Host""#),
        ("GET /hello HTTP/1.1\r\nHost: x y\r\n", 400, #""field":"Host""#),
        // Where its body ends (section 6).
        ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n", 501, "gzip"),
        (
            "POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Deflate\r\nTransfer-Encoding: chunked\r\n", 501,
            "deflate"
        ),
        ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n", 501, "gzip"),
        ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n", 400, #""error""#),
        ("POST /size HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400, #""field":"Transfer-Encoding""#),
        ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n", 400, #""error""#),
        ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n", 400, #""error""#),
        ("POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400, #""error""#),
        ("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400, #""error""#),
        // What is asked (RFC 9110, section 9.1).
        ("FOO /hello HTTP/1.1\r\nHost: x\r\n", 400, "method that is not known"),
        ("post /size HTTP/1.1\r\nHost: x\r\n", 400, "method that is not known"),
        ("NON SENSE\r\n", 400, "no HTTP request"),
    ])
    func aHeadThatMayBeTakenInTwoWaysIsRefused(head: String, status: Int, words: String) async throws {
        let text = try await exchange(head + "\r\n3\r\nabc\r\n0\r\n\r\n")
        #expect(
            text.hasPrefix("HTTP/1.1 \(status) ") && text.contains("{\"error\":{") && text.contains(words), "\(text)")
        #expect(text.lowercased().contains("connection: close\r\n"))
        #expect(text.components(separatedBy: "\r\nServer: ").count == 2, "one answer and no other: \(text)")
    }

    @Test func headsAreBounded() async throws {
        let field = "X-Much: \(String(repeating: "x", count: 1000))\r\n"
        let text = try await exchange("GET /hello HTTP/1.1\r\n" + String(repeating: field, count: 100) + "\r\n")
        #expect(text.hasPrefix("HTTP/1.1 431") && text.contains("{\"error\":"))
    }

    /// A body of exactly the bound, chunk by chunk and all at once, with everything that may stand between.
    @Test func chunksUpToTheBoundAreTaken() async throws {
        let head = "POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        let whole = "00100000;a=\"b\"\r\n" + String(repeating: "0", count: 1 << 20) + "\r\n0\r\nX-After: y\r\n\r\n"
        let pieces = String(repeating: "A\r\nffff\r\nffff\r\n", count: 1000) + "000;z\r\n\r\n"
        let last = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        let text = try await exchange(head + whole + head + pieces + last)
        let answers = text.components(separatedBy: "HTTP/1.1 200 OK\r\n").dropFirst()
            .map { $0.components(separatedBy: "\r\n\r\n").last ?? "" }
        #expect(answers == ["1048576", "10000", "hello"], "\(text)")
    }

    @Test func rubbishBehindARequestDoesNotCostItsAnswer() async throws {
        let text = try await exchange("GET /hello HTTP/1.1\r\nHost: x\r\n\r\nrubbish rubbish\r\n\r\n")
        #expect(text.hasPrefix("HTTP/1.1 200") && text.contains("hello"))
    }
}
