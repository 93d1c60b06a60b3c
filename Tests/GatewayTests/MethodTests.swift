import HTTPTypes
import Hummingbird
import Testing

@testable import gateway

/// Methods that a path does not have, and pages of other origins.
@Suite struct MethodTests {
    private func exchange(_ request: String, origins: String? = nil) async throws -> String {
        let router = Router(context: GatewayRequestContext.self)
        router.add(middleware: CrossOriginMiddleware(origins: AllowedOrigins(origins)))
        router.add(middleware: ErrorMiddleware())
        router.add(middleware: MethodMiddleware())
        router.post("/chat") { _, _ -> Response in throw APIError.unauthorized }
        router.get("/stream/{id}") { _, _ in "s" }
        router.get("/health") { _, _ in "h" }
        var answer = ""
        try await LiveServer.run(router) { port, _ in
            answer = try await LiveServer.exchange(port, request + "Host: x\r\nConnection: close\r\n\r\n")
        }
        return answer.lowercased()
    }

    @Test func aMethodThatAPathDoesNotHaveIsNoMissingPath() async throws {
        let chat = try await exchange("GET /chat HTTP/1.1\r\n")
        #expect(chat.hasPrefix("http/1.1 405") && chat.contains("allow: post, options\r\n"))
        #expect(chat.contains(#""code":"method_not_allowed""#))
        let stream = try await exchange("PUT /stream/1 HTTP/1.1\r\nContent-Length: 0\r\n")
        #expect(stream.hasPrefix("http/1.1 405") && stream.contains("allow: get, delete, options\r\n"))
        #expect(try await exchange("GET /nothing HTTP/1.1\r\n").hasPrefix("http/1.1 404"))
        #expect(try await exchange("GET /stream/1/2 HTTP/1.1\r\n").hasPrefix("http/1.1 404"))
        #expect(try await exchange("GET /health/ HTTP/1.1\r\n").hasPrefix("http/1.1 200"))
    }

    @Test func optionsAreTold() async throws {
        let options = try await exchange("OPTIONS /chat HTTP/1.1\r\n")
        #expect(options.hasPrefix("http/1.1 204") && options.contains("allow: post, options\r\n"))
    }

    private static let preflight =
        "OPTIONS /chat HTTP/1.1\r\nOrigin: https://chat.example\r\nAccess-Control-Request-Method: POST\r\n"

    @Test func withoutASettingNoPageMayCall() async throws {
        let answer = try await exchange(MethodTests.preflight)
        #expect(!answer.contains("access-control"))
    }

    @Test func thePagesOfAnAllowedOriginMay() async throws {
        for origins in ["https://other.example, https://chat.example", "*"] {
            let allowed = origins == "*" ? "*" : "https://chat.example"
            let answer = try await exchange(MethodTests.preflight, origins: origins)
            #expect(answer.hasPrefix("http/1.1 204"))
            #expect(answer.contains("access-control-allow-origin: \(allowed)\r\n"))
            #expect(answer.contains("access-control-allow-methods: post\r\n"))
            #expect(answer.contains("x-api-key") && answer.contains("vary: origin\r\n"))
            // Errors are for the page too.
            let refused = try await exchange(
                "POST /chat HTTP/1.1\r\nOrigin: https://chat.example\r\nContent-Length: 0\r\n", origins: origins)
            #expect(refused.hasPrefix("http/1.1 401"))
            #expect(refused.contains("access-control-allow-origin: \(allowed)\r\n"))
            #expect(refused.contains("access-control-expose-headers: "))
        }
        let stranger = try await exchange(MethodTests.preflight, origins: "https://other.example")
        #expect(!stranger.contains("access-control"))
    }
}
