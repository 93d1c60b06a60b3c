import Foundation
import RabbitQueue
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
    let port: Int
    private let descriptor: Int32
    private let connections = Accepted()

    private final class Accepted: @unchecked Sendable {
        // The lock guards the list.
        private let lock = NSLock()
        private var list: [Int32] = []
        func add(_ descriptor: Int32) { lock.withLock { list.append(descriptor) } }
        var all: [Int32] { lock.withLock { list } }
    }

    init?(answer: [UInt8]) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, $0, &size) == 0
            }
        }
        guard descriptor >= 0, isBound else { return nil }
        self.descriptor = descriptor
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [connections] in
            while true {
                let accepted = accept(descriptor, nil, nil)
                guard accepted >= 0 else { return }
                _ = answer.withUnsafeBytes { send(accepted, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                connections.add(accepted)
            }
        }
    }

    var accepted: Int { connections.all.count }

    func close() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        Foundation.close(descriptor)
        for connection in connections.all { Foundation.close(connection) }
    }
}
