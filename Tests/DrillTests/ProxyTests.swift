import AsyncHTTPClient
import Foundation
import ServiceHarness
import Testing

@testable import DrillKit

/// The proxy between two plain sockets.
@Suite struct ProxyTests {
    @Test(.timeLimit(.minutes(1))) func aLinkCarriesStallsAndCuts() throws {
        let echo = try Echo()
        defer { echo.stop() }
        let proxy = try TCPProxy()
        defer { proxy.stop() }
        let link = try proxy.link(to: echo.port)
        let first = try Client(port: link.port)
        #expect(try first.exchange([1, 2, 3]) == [1, 2, 3])

        proxy.set(.slow(delay: .milliseconds(5), bytesPerSecond: 1 << 20), on: link)
        #expect(try first.exchange([4]) == [4])

        proxy.set(.silent, on: link)
        try first.send([5])
        #expect(first.receive(within: 200) == nil)
        proxy.set(.clear, on: link)
        #expect(first.receive(within: 10_000) == [5])

        proxy.cut(link)
        #expect(first.receive(within: 10_000) == [])
        let second = try Client(port: link.port)
        #expect(try second.exchange([6]) == [6])
        proxy.set(.refusing, on: link)
        #expect(second.receive(within: 10_000) == [])
        let third = try Client(port: link.port)
        #expect(third.receive(within: 10_000) == [])
    }
}

/// Sends back what it gets.
private final class Echo: Sendable {
    let port: Int
    private let listener: Int32

    init() throws {
        port = try freePort()
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = LoopbackAddress.of(port: port)
        let status = withUnsafePointer(to: &address) { [listener] pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0, listen(listener, 8) == 0 else { throw HarnessError("no listener") }
        Thread.detachNewThread { [listener] in
            while true {
                let peer = accept(listener, nil, nil)
                guard peer >= 0 else { return }
                Thread.detachNewThread {
                    var buffer = [UInt8](repeating: 0, count: 4096)
                    while true {
                        let count = recv(peer, &buffer, buffer.count, 0)
                        guard count > 0, send(peer, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break }
                    }
                    close(peer)
                }
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }
}

private final class Client {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = LoopbackAddress.of(port: port)
        let status = withUnsafePointer(to: &address) { [descriptor] pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw HarnessError("not connected") }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) throws {
        guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw HarnessError("not sent")
        }
    }

    /// Nil when nothing came within the milliseconds; nothing at all when the connection was reset.
    func receive(within milliseconds: Int32) -> [UInt8]? {
        var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&polled, 1, milliseconds) > 0 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 4096)
        return Array(buffer[..<max(0, recv(descriptor, &buffer, buffer.count, 0))])
    }

    func exchange(_ bytes: [UInt8]) throws -> [UInt8]? {
        try send(bytes)
        return receive(within: 10_000)
    }
}
