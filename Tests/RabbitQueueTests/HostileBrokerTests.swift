import Foundation
import RabbitQueue
import TestServers
import Testing

/// What answers is not a RabbitMQ.
@Suite struct HostileBrokerTests {
    @Test(arguments: [
        "HTTP/1.1 400 Bad Request\r\n\r\n", "AMQP\u{1}\u{1}\u{0}\u{A}", "", "\u{1}\u{0}\u{0}\u{7F}\u{7F}\u{7F}\u{7F}",
        String(repeating: "\u{8}\u{0}\u{0}", count: 100_000),
    ])
    func isGivenUpAndTriedAgain(answer: String) async throws {
        let listener = try #require(Listener(answer: Array(answer.utf8)))
        var configuration = try RabbitConfiguration(uri: "amqp://127.0.0.1:\(listener.port)")
        configuration.connectTimeout = .milliseconds(200)
        let publisher = RabbitPublisher(configuration)
        try await running(publisher) {
            try await eventually("tried three times") { listener.accepted >= 3 }
            try await eventually("says why") { publisher.lastFailure != nil }
            #expect(!publisher.isConnected)
            await #expect(throws: RabbitError.unavailable) {
                try await publisher.publish(OutgoingMessage(queue: "q", body: [], id: "1"))
            }
        }
        listener.close()
    }

    @Test func aPortWithoutAServerIsUnavailable() async throws {
        let listener = try #require(Listener(answer: []))
        listener.close()
        let publisher = RabbitPublisher(try RabbitConfiguration(uri: "amqp://127.0.0.1:\(listener.port)"))
        try await running(publisher) {
            try await eventually("says why") { publisher.lastFailure == .unavailable }
        }
    }
}

/// Accepts on a free port of 127.0.0.1, says `answer` to each, and leaves the connection open.
private final class Listener: Sendable {
    var port: Int { listener.port }
    private let listener: LoopbackListener
    private let connections = Accepted()

    private final class Accepted: @unchecked Sendable {
        // The lock guards the list.
        private let lock = NSLock()
        private var list: [Int32] = []
        func add(_ descriptor: Int32) { lock.withLock { list.append(descriptor) } }
        var all: [Int32] { lock.withLock { list } }
    }

    init?(answer: [UInt8]) {
        guard let listener = LoopbackListener() else { return nil }
        self.listener = listener
        listener.begin { [connections] accepted in
            _ = answer.withUnsafeBytes { send(accepted, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            connections.add(accepted)
        }
    }

    var accepted: Int { connections.all.count }

    func close() {
        listener.close()
        for connection in connections.all { Foundation.close(connection) }
    }
}
