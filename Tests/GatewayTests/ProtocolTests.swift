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

    @Test func headsAreBounded() async throws {
        let field = "X-Much: \(String(repeating: "x", count: 1000))\r\n"
        let text = try await exchange("GET /hello HTTP/1.1\r\n" + String(repeating: field, count: 100) + "\r\n")
        #expect(text.hasPrefix("HTTP/1.1 431") && text.contains("{\"error\":"))
    }

    @Test func rubbishBehindARequestDoesNotCostItsAnswer() async throws {
        let text = try await exchange("GET /hello HTTP/1.1\r\nHost: x\r\n\r\nrubbish rubbish\r\n\r\n")
        #expect(text.hasPrefix("HTTP/1.1 200") && text.contains("hello"))
    }
}
