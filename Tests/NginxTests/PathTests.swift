import AsyncHTTPClient
import Foundation
import ServiceHarness
import Testing

/// What the world may ask, in which form, and what nginx answers by itself.
struct PathTests {
    @Test func whatOperatorsAskIsHidden() async throws {
        let gateway = try await ScriptedGateway()
        try await Front.with([gateway]) { front in
            let hidden = [
                "/metrics", "/debug/queue-stats", "/livez", "/readyz", "/", "/chat/", "/stream/", "/stream",
                "/health/x",
                "/%6detrics", "/./metrics", "//metrics", "/chat/../metrics", "/stream/..%2fmetrics",
                "/stream/a/../../livez",
                "/METRICS", "/metrics?x=/chat", "/.error", "/stream/a/b",
            ]
            for path in hidden {
                // Not through a URL type, which would tidy the path up.
                let answer = try await front.converse([
                    ("GET \(path) HTTP/1.1\r\nHost: front\r\nX-API-Key: sb_key\r\n\r\n", "\"}}\n")
                ])[0]
                #expect(answer.hasPrefix("HTTP/1.1 404 "), "\(path): \(answer)")
                #expect(answer.contains(#"{"error":{"code":"not_found","message":"#), "\(path): \(answer)")
            }
            #expect(gateway.requests.isEmpty, "\(gateway.requests.map(\.path))")
            for path in ["/health", "/chat", "/stream-chat", "/async-chat", "/stream/1", "/check-response/1"] {
                #expect(try await front.get(path).status == 200)
            }
            #expect(try await front.send("DELETE", "/stream/1", body: nil).status == 200)
            #expect(gateway.requests.count == 7)
        }
    }

    @Test func errorsHaveTheShapeOfTheAPI() async throws {
        let gateway = try await ScriptedGateway { request in
            request.path == "/health" ? .answer(503, "the gateway's own words") : .answer(200, "{}")
        }
        try await Front.with([gateway], ["GATEWAY_MAX_BODY_BYTES": "2000"]) { front in
            let largest = Array(repeating: UInt8(ascii: "a"), count: 2000)
            #expect(try await front.send("POST", "/chat", body: largest).status == 200)
            #expect(gateway.requests.last?.body.utf8.count == 2000)
            for path in ["/chat", "/async-chat"] {
                let keyed = path == "/chat" ? ["Idempotency-Key": "k"] : [:]
                let refused = try await front.send("POST", path, body: largest + [0], headers: keyed)
                #expect(refused.status == 413 && refused.error["code"] as? String == "too_large", "\(refused.text)")
                #expect(refused.headers["content-type"]?.hasPrefix("application/json") == true)
                #expect(refused.headers["x-content-type-options"] == "nosniff")
            }
            // What a gateway says is passed on as it is.
            let spoken = try await front.get("/health")
            #expect(spoken.status == 503 && spoken.text == "the gateway's own words")
            #expect(spoken.headers["x-frame-options"] == "DENY")
            // What is no request at all.
            for (sent, status) in [
                ("NONSENSE\r\n\r\n", 400), ("GET /health HTTP/1.1\r\n\r\n", 400),
                ("GET /health HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "a", count: 40_000))\r\n\r\n", 431),
                ("GET /\(String(repeating: "a", count: 40_000)) HTTP/1.1\r\n\r\n", 414),
                // What may be taken in two ways, as a gateway refuses it.
                ("GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
                ("POST /chat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
                ("POST /chat HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
                ("POST /chat HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ] {
                let answer = try await front.converse([(sent, "\"}}\n")])[0]
                #expect(answer.hasPrefix("HTTP/1.1 \(status) ") && answer.contains(#"{"error":{"code":"#), "\(answer)")
            }
        }
    }

    @Test func onlyWebSocketsAreUpgraded() async throws {
        let gateway = try await ScriptedGateway { request in
            request.headers["upgrade"] == nil ? .answer(200, "{}") : .upgrade
        }
        try await Front.with([gateway]) { front in
            func asking(_ path: String, for name: String) -> String {
                "GET \(path) HTTP/1.1\r\nHost: front\r\nConnection: Upgrade\r\nUpgrade: \(name)\r\n"
                    + "Sec-WebSocket-Key: abc\r\n\r\n"
            }
            let said = try await front.converse([
                (asking("/ws", for: "WebSocket"), "\r\n\r\n"), ("hello", "hello"), ("and again", "and again"),
            ])
            #expect(said[0].hasPrefix("HTTP/1.1 101 "))
            #expect(gateway.requests.last?.headers["connection"] == "upgrade")
            #expect(gateway.requests.last?.headers["upgrade"] == "websocket")
            #expect(gateway.requests.last?.headers["sec-websocket-key"] == "abc")
            for (path, name) in [("/ws", "h2c"), ("/health", "websocket"), ("/stream/1", "websocket")] {
                let answer = try await front.converse([(asking(path, for: name), "{}")])[0]
                #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(path): \(answer)")
                #expect(gateway.requests.last?.headers["upgrade"] == nil)
            }
        }
    }

    @Test func whoAsksIsNotWhatTheyClaim() async throws {
        let gateway = try await ScriptedGateway()
        try await Front.with([gateway]) { front in
            let claims = ["X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "https", "traceparent": "00-1-2-01"]
            _ = try await front.get("/health?key=sb_query", headers: claims)
            #expect(gateway.requests.last?.headers["x-forwarded-for"] == "127.0.0.1")
            #expect(gateway.requests.last?.headers["x-forwarded-proto"] == "http")
            #expect(gateway.requests.last?.headers["traceparent"] == "00-1-2-01")
            try await front.withSecureClient { client in
                _ = try await client.execute("GET", "/health").body.collect(upTo: 1000)
            }
            #expect(gateway.requests.last?.headers["x-forwarded-proto"] == "https")
            #expect(gateway.requests.first?.headers["x-api-key"] == "sb_key")
            // The log of requests says who asked what, and never with which key.
            try await eventually("requests are logged", or: { front.nginx.endpoint.log }) {
                front.nginx.endpoint.log.components(separatedBy: #""request":"GET /health""#).count == 3
            }
            #expect(!front.nginx.endpoint.log.contains("sb_"))
        }
        let behind = try await ScriptedGateway()
        try await Front.with([behind], ["NGINX_TRUSTED_PROXIES": "127.0.0.0/8"]) { front in
            _ = try await front.get("/health", headers: ["X-Forwarded-For": "203.0.113.1, 198.51.100.7"])
            // The last that a trusted proxy has written; what stands before it may be anybody's invention.
            #expect(behind.requests.last?.headers["x-forwarded-for"] == "198.51.100.7")
        }
    }

    @Test func operatorsAskElsewhere() async throws {
        let gateway = try await ScriptedGateway()
        try await Front.with([gateway]) { front in
            let base = "http://127.0.0.1:\(front.nginx.endpoint.operatorPort)"
            let metrics = try await HTTPClient.shared.get(url: base + "/metrics").get()
            let text = metrics.body.map { String(buffer: $0) } ?? ""
            #expect(metrics.status == .ok && text.contains("\nnginx_connections_active "), "\(text)")
            #expect(try await HTTPClient.shared.get(url: base + "/livez").get().status == .ok)
            #expect(try await HTTPClient.shared.get(url: base + "/health").get().status == .notFound)
        }
    }
}
