import Foundation
import NIOCore
import NIOPosix
import ServiceHarness
import Synchronization

/// A gateway that does what a test says, over bare sockets: it hears all that nginx sends, and may hang up on it.
final class ScriptedGateway: Sendable {
    struct Request: Sendable {
        let method: String
        let path: String
        /// Their names in lower case.
        let headers: [String: String]
        let body: String
    }

    enum Deed: Sendable {
        case answer(Int, String)
        /// Says nothing for as long as the connection is open.
        case wait
        /// Closes the connection without an answer.
        case hangUp
        /// The same, late.
        case hangUpAfter(TimeAmount)
        /// Begins a stream of events, which goes on with ``ScriptedGateway/send(_:)`` and ends with ``finish()``.
        case stream
        /// Becomes another protocol, in which everything is said back.
        case upgrade
    }

    let port: Int
    fileprivate let script: GatewayScript
    private let listener: any Channel

    /// - Parameter port: 0 takes a free one.
    init(
        host: String = "127.0.0.1", port: Int = 0,
        _ deed: @escaping @Sendable (Request) -> Deed = { _ in .answer(200, "{}") }
    ) async throws {
        let script = GatewayScript(deed)
        listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { channel in
                script.opened(channel)
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ScriptedConnection(script))
                }
            }
            .withBoundSocket(ScriptedGateway.boundSocket(host, port)).get()
        self.port = listener.localAddress?.port ?? 0
        self.script = script
    }

    /// Closed in programs that this process starts: NIO's own would live on in an nginx, and answer nobody.
    private static func boundSocket(_ host: String, _ port: Int) throws -> NIOBSDSocket.Handle {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var isOn: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr = in_addr(s_addr: inet_addr(host))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(socket)
            throw HarnessError("\(host):\(port): \(String(cString: strerror(errno)))")
        }
        return socket
    }

    /// All that came, in order.
    var requests: [Request] { script.state.withLock { $0.requests } }

    /// Says an event on every open stream.
    func send(_ event: String) {
        for stream in script.state.withLock({ $0.streams }) { stream.say(chunk: event) }
    }

    func finish() {
        for stream in script.state.withLock({ $0.streams }) { stream.say("0\r\n\r\n") }
    }

    /// Closes the port and every connection, as the death of a gateway would.
    func stop() async {
        try? await listener.close()
        for connection in script.state.withLock({ $0.connections }) { try? await connection.close() }
    }
}

/// What the connections of one gateway share.
private final class GatewayScript: Sendable {
    struct State {
        var requests: [ScriptedGateway.Request] = []
        var connections: [any Channel] = []
        var streams: [any Channel] = []
    }

    let deed: @Sendable (ScriptedGateway.Request) -> ScriptedGateway.Deed
    let state = Mutex(State())

    init(_ deed: @escaping @Sendable (ScriptedGateway.Request) -> ScriptedGateway.Deed) { self.deed = deed }

    func opened(_ channel: any Channel) { state.withLock { $0.connections.append(channel) } }
}

private final class ScriptedConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let script: GatewayScript
    private var received = ""
    private var isUpgraded = false

    init(_ script: GatewayScript) { self.script = script }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let text = String(buffer: unwrapInboundIn(data))
        guard !isUpgraded else { return context.channel.say(text) }
        received += text
        while let request = nextRequest() {
            script.state.withLock { $0.requests.append(request) }
            switch script.deed(request) {
            case .answer(let status, let body):
                context.channel.say("HTTP/1.1 \(status) Said\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            case .wait: break
            case .hangUp: context.close(promise: nil)
            case .hangUpAfter(let time):
                let channel = context.channel
                context.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
            case .stream:
                // First: whoever hears the beginning may have more said at once.
                script.state.withLock { $0.streams.append(context.channel) }
                context.channel.say(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                context.channel.say(chunk: ": waiting\n\n")
            case .upgrade:
                isUpgraded = true
                context.channel.say(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            }
        }
    }

    /// nginx sends a body with its length, never in chunks: it has read it whole before.
    private func nextRequest() -> ScriptedGateway.Request? {
        guard let end = received.range(of: "\r\n\r\n") else { return nil }
        let lines = received[..<end.lowerBound].components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count == 3 else { return nil }
        let headers = Dictionary(
            lines.dropFirst().compactMap { line -> (String, String)? in
                guard let colon = line.range(of: ": ") else { return nil }
                return (line[..<colon.lowerBound].lowercased(), String(line[colon.upperBound...]))
            }
        ) { first, _ in first }
        let length = headers["content-length"].flatMap(Int.init) ?? 0
        let body = received[end.upperBound...].utf8.prefix(length)
        guard body.count == length else { return nil }
        let request = ScriptedGateway.Request(
            method: String(words[0]), path: String(words[1]), headers: headers, body: String(Substring(body)))
        received = String(received[body.endIndex...])
        return request
    }
}

extension Channel {
    fileprivate func say(_ text: String) { writeAndFlush(ByteBuffer(string: text), promise: nil) }
    fileprivate func say(chunk: String) { say("\(String(chunk.utf8.count, radix: 16))\r\n\(chunk)\r\n") }
}
