import Foundation
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import gateway

/// The gateway's server with routes of a test, on a real socket.
enum LiveServer {
    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// - Parameter body: gets the port and the server's connections.
    static func run(
        _ router: Router<GatewayRequestContext>, limits: ConnectionClock.Limits = .init(),
        _ body: (Int, OpenConnections) async throws -> Void
    ) async throws {
        let connections = OpenConnections()
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        let server = Server(
            childChannelSetup: GatewayChannel(
                answerer: Answerer(
                    responder: router.buildResponder(), serverName: "test", date: DateHeader(), logger: logger),
                limits: limits, connections: connections),
            configuration: ServerConfiguration(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { port.yield($0.localAddress?.port ?? 0) },
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            let result: Result<Void, any Error>
            do {
                var ports = ports.makeAsyncIterator()
                result = .success(try await body(try #require(await ports.next()), connections))
            } catch {
                result = .failure(error)
            }
            // Also after a failure: the server does not end by being cancelled.
            try await server.shutdownGracefully()
            group.cancelAll()
            try result.get()
        }
    }

    /// Sends bytes, ends its side if told to, and gives what came until the server closed, or until `until` came.
    static func exchange(
        _ port: Int, _ request: String, endsInput: Bool = false, until: String? = nil
    ) async throws -> String {
        try await exchange(port, ByteBuffer(string: request), endsInput: endsInput, until: until)
    }

    /// Sends `request`, waits until the text `until` came, and sends `rest`.
    /// - Returns: all that came until the server closed.
    static func converse(_ port: Int, _ request: String, until: String, then rest: String) async throws -> String {
        try await exchange(port, ByteBuffer(string: request), until: until, then: ByteBuffer(string: rest))
    }

    static func exchange(
        _ port: Int, _ request: ByteBuffer, endsInput: Bool = false, until: String? = nil, then rest: ByteBuffer? = nil
    ) async throws -> String {
        let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        return try await client.executeThenClose { inbound, outbound in
            try await outbound.write(request)
            if endsInput { outbound.finish() }
            var text = ""
            let isToStop = rest == nil
            var rest = rest
            do {
                for try await bytes in inbound {
                    text += String(buffer: bytes)
                    guard let until, text.contains(until) else { continue }
                    guard let bytes = rest else { if isToStop { break } else { continue } }
                    try await outbound.write(bytes)
                    rest = nil
                }
            } catch let error as IOError where error.errnoCode == ECONNRESET {
                // The server closed while bytes were on their way to it: an end like any other.
            }
            return text
        }
    }

    /// A client that reads nothing until it is told to.
    static func deafClient(_ port: Int) async throws -> any Channel {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: false).connect(host: "127.0.0.1", port: port).get()
    }

    /// Sends `bytes` again and again, waiting for the socket each time, until the server has closed.
    /// - Returns: how many bytes the socket took.
    static func sendUntilClosed(_ port: Int, _ request: String, then bytes: String) async throws -> Int {
        let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port).get()
        var sent = 0
        do {
            try await client.writeAndFlush(ByteBuffer(string: request))
            while true {
                try await client.writeAndFlush(ByteBuffer(string: bytes))
                sent += bytes.utf8.count
                // So that a byte at a time is a packet at a time.
                await Task.yield()
            }
        } catch {
            return sent
        }
    }

    static func eventually(_ condition: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(120)
        while !condition() {
            try #require(ContinuousClock.now < end, "not within 120 s")
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
