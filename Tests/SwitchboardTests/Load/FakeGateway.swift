import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A gateway that answers at once, and lies where it is told to.
final class FakeGateway: Sendable {
    enum Manner: Sendable, Equatable {
        case honest
        /// The third token comes twice.
        case doubling
        /// The third token is left out, unless the client asks for it.
        case skipping
        /// The end says one token more.
        case miscounting
        /// The connection ends after two tokens, each time.
        case breaking
        /// Nothing comes after two tokens, until the client asks again.
        case fallingSilent
        case overloaded
        /// What stands before it has lost it, at the first POST with this status.
        case losing(Int, code: String)
        /// It is connected to, and says nothing.
        case mute
        /// The third token is never there.
        case lacking
    }

    static let tokens = 8

    let url: String
    private let requests: Requests
    private let channel: any Channel

    var posts: Int { requests.posts.load(ordering: .relaxed) }
    /// Connections that began behind a token.
    var resumes: Int { requests.resumes.load(ordering: .relaxed) }

    init(_ manner: Manner) async throws {
        let requests = Requests(manner)
        self.requests = requests
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(requests))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        url = "http://127.0.0.1:\(channel.localAddress?.port ?? 0)"
    }

    func stop() async throws { try await channel.close() }
}

/// What it was asked, and what it answers.
private final class Requests: Sendable {
    let manner: FakeGateway.Manner
    let posts = Atomic(0)
    let resumes = Atomic(0)

    init(_ manner: FakeGateway.Manner) { self.manner = manner }

    func begin() -> (HTTPResponseStatus, String) {
        let number = posts.add(1, ordering: .relaxed).newValue
        guard manner != .overloaded else {
            return (.serviceUnavailable, #"{"error":{"code":"overloaded","message":"too much"}}"#)
        }
        if case .losing(let status, let code) = manner, number == 1 {
            return (.init(statusCode: status), #"{"error":{"code":"\#(code)","message":"gone"}}"#)
        }
        return (.ok, #"{"correlation_id":"turn-\#(number)"}"#)
    }

    /// A connection that is cut off ends without the last chunk, as that of a process that dies.
    enum Ending { case whole, cutOff, open }

    /// - Returns: the stream's text, and what becomes of the connection behind it.
    func stream(from first: Int) -> (String, Ending) {
        if first > 0 { resumes.add(1, ordering: .relaxed) }
        var text = ": waiting\n\n"
        for index in first..<FakeGateway.tokens {
            let event = "id: \(index)\ndata: {\"token\":\"x\",\"done\":false}\n\n"
            switch manner {
            case .doubling where index == 2: text += event + event
            case .skipping where index == 2 && first < 2: continue
            case .lacking where index == 2: continue
            case .breaking where index == first + 2: return (text, .cutOff)
            case .fallingSilent where index == 2 && first < 2: return (text, .open)
            default: text += event
            }
        }
        let count = FakeGateway.tokens + (manner == .miscounting ? 1 : 0)
        text += """
            data: {"token":"","done":true,"status":"done","finish_reason":"length","conversation_id":1,\
            "usage":{"prompt_tokens":3,"completion_tokens":\(count)}}\n\ndata: [DONE]\n\n
            """
        return (text, .whole)
    }
}

private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let requests: Requests
    private var head: HTTPRequestHead?

    init(_ requests: Requests) { self.requests = requests }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end:
            guard let head else { return }
            if requests.manner == .mute { return }
            if head.method == .POST {
                let (status, text) = requests.begin()
                var headers = HTTPHeaders([
                    ("Content-Length", "\(text.utf8.count)"), ("Server-Timing", "total;dur=2"),
                ])
                if requests.manner == .overloaded { headers.add(name: "Retry-After", value: "3600") }
                answer(context, status, headers, text, ends: true)
            } else {
                let last = head.headers.first(name: "Last-Event-ID").flatMap { Int($0) } ?? -1
                let (text, ending) = requests.stream(from: last + 1)
                answer(context, .ok, HTTPHeaders([("Connection", "close")]), text, ends: ending == .whole)
                if ending != .open { context.close(promise: nil) }
            }
        }
    }

    private func answer(
        _ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ headers: HTTPHeaders, _ text: String,
        ends: Bool
    ) {
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
        if ends { context.write(wrapOutboundOut(.end(nil)), promise: nil) }
        context.flush()
    }
}
