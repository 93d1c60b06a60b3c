import AsyncHTTPClient
import Foundation
import ServiceHarness
import Testing

/// Which gateway is asked, and when another one is.
struct UpstreamTests {
    /// Two gateways of which every one hangs up on what `isLost` says.
    private func pair(hangingUpOn isLost: @escaping @Sendable (ScriptedGateway.Request) -> Bool) async throws
        -> [ScriptedGateway]
    {
        let deed: @Sendable (ScriptedGateway.Request) -> ScriptedGateway.Deed = {
            isLost($0) ? .hangUp : .answer(200, "{}")
        }
        return [try await ScriptedGateway(deed), try await ScriptedGateway(deed)]
    }

    @Test func onlyWhatMayBeRepeatedIsRepeated() async throws {
        let gateways = try await pair { $0.path != "/health" }
        try await Front.with(gateways) { front in
            func asked(_ method: String, _ path: String, _ headers: [String: String] = [:]) async throws -> Int {
                let before = gateways.reduce(0) { $0 + $1.requests.count }
                let body: [UInt8]? = method == "POST" ? Array("{}".utf8) : nil
                let answer = try await front.send(method, path, body: body, headers: headers)
                #expect(answer.status == 502 && answer.headers["retry-after"] == "2")
                #expect(answer.error["code"] as? String == "interrupted", "\(answer.text)")
                let count = gateways.reduce(0) { $0 + $1.requests.count } - before
                // Two losses put a gateway aside for two seconds; the next question waits for both.
                let health = gateways.map { gateway in gateway.requests.count { $0.path == "/health" } }
                try await eventually("both are asked again") {
                    _ = try await front.get("/health")
                    return zip(gateways, health).allSatisfy { gateway, before in
                        gateway.requests.count { $0.path == "/health" } > before
                    }
                }
                return count
            }
            // A POST that was sent may have been accepted.
            let key = ["Idempotency-Key": "k"]
            let counts = [
                try await asked("POST", "/chat"), try await asked("POST", "/stream-chat"),
                try await asked("POST", "/async-chat"), try await asked("POST", "/chat", key),
                try await asked("POST", "/stream-chat", ["Idempotency-Key": "0"]),
                try await asked("GET", "/check-response/1"),
                try await asked("DELETE", "/stream/1"),
            ]
            #expect(counts == [1, 1, 1, 2, 2, 2, 2])
            let bodies = gateways.flatMap(\.requests).filter { $0.method == "POST" }.map(\.body)
            #expect(bodies.allSatisfy { $0 == "{}" }, "\(bodies)")
        }
    }

    /// A whole answer takes its time, and the gateway may die late in it: later than any other request would be asked again.
    @Test func aKeyedAnswerIsAskedForAgainHoweverLate() async throws {
        let deed: @Sendable (ScriptedGateway.Request) -> ScriptedGateway.Deed = { _ in .hangUpAfter(.seconds(16)) }
        let gateways = [try await ScriptedGateway(deed), try await ScriptedGateway(deed)]
        try await Front.with(gateways) { front in
            let asking = Task {
                try await front.send("POST", "/chat", body: Array("{}".utf8), headers: ["Idempotency-Key": "k"])
            }
            try await eventually("the other is asked", within: .seconds(60)) {
                gateways.allSatisfy { $0.requests.count == 1 }
            }
            asking.cancel()
        }
    }

    @Test func whatWasNotSentGoesElsewhere() async throws {
        let gone = try await ScriptedGateway()
        let there = try await ScriptedGateway { _ in .answer(503, "busy") }
        await gone.stop()
        try await Front.with([gone, there]) { front in
            for index in 0..<20 {
                let begun = try await front.post("/chat", [:])
                let followed = try await front.get("/stream/\(index)")
                #expect(begun.status == 503 && followed.text == "busy")
            }
            // A 503 is an answer: what it lacks, the next gateway lacks as well.
            #expect(there.requests.count == 40)
        }
    }

    @Test func nobodyThereIsSaid() async throws {
        let gateway = try await ScriptedGateway()
        let port = gateway.port
        await gateway.stop()
        try await Front.with([gateway]) { front in
            for path in ["/chat", "/async-chat"] {
                let answer = try await front.post(path, [:])
                #expect(answer.status == 502 && answer.error["code"] as? String == "unavailable", "\(answer.text)")
                #expect(answer.headers["retry-after"] == "2" && answer.headers["cache-control"] == "no-store")
            }
            let back = try await ScriptedGateway(port: port)
            try await eventually("it is found again") { try await front.get("/health").status == 200 }
            await back.stop()
        }
    }

    /// All readers of a turn ask one gateway, and a gateway that dies moves only its own turns.
    @Test func aTurnKeepsToItsGateway() async throws {
        let gateways = [try await ScriptedGateway(), try await ScriptedGateway(), try await ScriptedGateway()]
        try await Front.with(gateways, ["NGINX_RATE": "0"]) { front in
            let turns = (0..<60).map { _ in UUID().uuidString.lowercased() }
            /// Which of the gateways served which turn.
            func places() async throws -> [String: Set<Int>] {
                let before = gateways.map(\.requests.count)
                for turn in turns + turns {
                    #expect(try await front.get("/stream/\(turn)").status == 200)
                    #expect(try await front.get("/check-response/\(turn)").status == 200)
                }
                var places: [String: Set<Int>] = [:]
                for (index, gateway) in gateways.enumerated() {
                    for request in gateway.requests.dropFirst(before[index]) {
                        places[String(request.path.split(separator: "/")[1]), default: []].insert(index)
                    }
                }
                return places
            }
            let first = try await places()
            #expect(first.count == turns.count && first.values.allSatisfy { $0.count == 1 })
            for index in gateways.indices { #expect(first.values.contains([index])) }
            await gateways[0].stop()
            let second = try await places()
            for turn in turns where first[turn] != [0] { #expect(second[turn] == first[turn]) }
            for turn in turns where first[turn] == [0] { #expect(second[turn]?.contains(0) == false) }
        }
    }
}
