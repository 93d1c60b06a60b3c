import Foundation
import ServiceHarness
import Testing

struct LimitTests {
    private func isRefusal(_ answer: HTTPAnswer) -> Bool {
        answer.status == 429 && answer.error["code"] as? String == "rate_limited"
            && answer.headers["retry-after"] == "1"
    }

    @Test func floodsOfOneAddressAreRefused() async throws {
        let gateway = try await ScriptedGateway()
        let settings = ["NGINX_RATE": "1", "NGINX_BURST": "3", "NGINX_TRUSTED_PROXIES": "127.0.0.1"]
        try await Front.with([gateway], settings) { front in
            func ask(from address: String) async throws -> HTTPAnswer {
                try await front.get("/check-response/1", headers: ["X-Forwarded-For": address])
            }
            for _ in 0..<4 { #expect(try await ask(from: "203.0.113.1").status == 200) }
            var answers: [HTTPAnswer] = []
            for _ in 0..<20 { answers.append(try await ask(from: "203.0.113.1")) }
            #expect(answers.contains(where: isRefusal), "\(answers.map(\.status))")
            #expect(answers.allSatisfy { $0.status == 200 || isRefusal($0) })
            #expect(gateway.requests.count == 4 + answers.count { $0.status == 200 })
            // Others are not disturbed.
            #expect(try await ask(from: "203.0.113.2").status == 200)
        }
    }

    @Test func streamsOfOneAddressAreCounted() async throws {
        let gateway = try await ScriptedGateway { $0.path.hasPrefix("/stream/") ? .stream : .answer(200, "{}") }
        try await Front.with([gateway], ["NGINX_CONNECTIONS": "3", "NGINX_RATE": "0"]) { front in
            try await front.withSecureClient { client in
                // Over one connection: with HTTP/2 each stream counts.
                var open = [try await client.execute("GET", "/stream/1"), try await client.execute("GET", "/stream/2")]
                open.append(try await client.execute("GET", "/stream/3"))
                #expect(open.allSatisfy { $0.status == .ok && $0.version == .http2 })
                let refused = try await front.get("/health")
                #expect(isRefusal(refused), "\(refused.status) \(refused.text)")
                gateway.finish()
                for response in open { _ = try await response.body.collect(upTo: 1000) }
                try await eventually("the places are free again") { try await front.get("/health").status == 200 }
            }
            // A rate of 0 is none.
            for _ in 0..<200 { #expect(try await front.get("/health").status == 200) }
        }
    }
}
