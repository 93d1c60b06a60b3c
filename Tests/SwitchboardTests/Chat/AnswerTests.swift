import ChatClient
import ServiceHarness
import Synchronization
import Testing

@testable import switchboard

/// A message on its way to gateways that do not take it.
@MainActor @Suite struct AnswerTests {
    private final class Complaints: Sendable {
        private let all = Mutex<[String]>([])

        var texts: [String] { all.withLock { $0 } }
        func add(_ text: String) { all.withLock { $0.append(text) } }
    }

    private let http = ChatClient.http()
    private let complaints = Complaints()

    private func answer(_ url: String) throws -> Answer {
        let client = try ChatClient(.init(gateways: [url], apiKey: "key"), http: http)
        return Answer(client: client, screen: Screen(Terminal())) { [complaints] in complaints.add($0) }
    }

    @Test(arguments: [true, false])
    func saysWhatItWaitsForAndCtrlCEndsItAtOnce(listens: Bool) async throws {
        let gateway = try await FakeGateway(.mute)
        if !listens { try await gateway.stop() }
        let answer = try answer(gateway.url)
        let turn = Task { try await answer.run(ChatRequest(message: "hi", userID: "me")) }
        let expected = listens ? "waiting for 127.0.0.1:" : "nobody listens there"
        try await eventually("it says so") { @Sendable [complaints] in
            complaints.texts.contains { $0.contains(expected) }
        }
        // Once, however many attempts there are.
        #expect(Set(complaints.texts).count == complaints.texts.count)
        #expect(answer.interrupt())
        turn.cancel()
        let result = await turn.result
        #expect(throws: (any Error).self) { try result.get() }
        #expect(!answer.isBegun)
        if listens { try await gateway.stop() }
        try await http.shutdown()
    }

    /// What nginx says when it has lost the gateway that it asked, or has none.
    @Test(arguments: [
        (502, "interrupted"), (502, "unavailable"), (502, "unknown"), (503, "unavailable"), (504, "timeout"),
    ])
    func whatMayBeRepeatedIsRepeated(status: Int, code: String) async throws {
        let gateway = try await FakeGateway(.losing(status, code: code))
        let client = try ChatClient(.init(gateways: [gateway.url], apiKey: "key"), http: http)
        #expect(try await client.begin(ChatRequest(message: "hi", userID: "me")) == "turn-2")
        #expect(gateway.posts == 2)
        try await gateway.stop()
        try await http.shutdown()
    }

    @Test func aFailedTurnIsNotRepeated() async throws {
        let gateway = try await FakeGateway(.losing(502, code: "turn_failed"))
        let client = try ChatClient(.init(gateways: [gateway.url], apiKey: "key"), http: http)
        await #expect(throws: ChatClientError.self) {
            try await client.begin(ChatRequest(message: "hi", userID: "me"))
        }
        // Without a key a request that may have been carried out is not sent twice.
        let unkeyed = try await FakeGateway(.losing(502, code: "interrupted"))
        let other = try ChatClient(.init(gateways: [unkeyed.url], apiKey: "key"), http: http)
        #expect(try await other.send("POST", "/chat", body: []).status == 502)
        #expect(gateway.posts == 1 && unkeyed.posts == 1)
        try await gateway.stop()
        try await unkeyed.stop()
        try await http.shutdown()
    }

    @Test func aTurnWhoseLogIsWrongIsGivenUp() async throws {
        let gateway = try await FakeGateway(.lacking)
        var configuration = ChatClient.Configuration(gateways: [gateway.url], apiKey: "key")
        configuration.reconnection.cap = .milliseconds(10)
        let client = try ChatClient(configuration, http: http)
        await #expect(throws: ChatClientError.malformed("token 3 where token 2 is due")) {
            _ = try await client.follow("turn-1") { _ in }
        }
        try await gateway.stop()
        try await http.shutdown()
    }
}
