import ChatClient
import NIOCore
import NIOHTTP1

/// One connection of one stream: asks for it, and says what comes. Confined to its event loop.
final class StreamConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    enum News {
        case items([EventStreamParser.Item])
        /// Another status than 200.
        case refused(HTTPAnswer)
        case lost(Loss)
    }

    private let request: HTTPRequestHead
    /// Told until `drop` or the end.
    private var onNews: ((News) -> Void)?
    private var context: ChannelHandlerContext?
    private var head: HTTPResponseHead?
    private var parser = EventStreamParser()
    private var refusal: [UInt8] = []
    private(set) var lastHeard = NIODeadline.now()

    init(_ request: HTTPRequestHead, onNews: @escaping (News) -> Void) {
        self.request = request
        self.onNews = onNews
    }

    /// Closes the connection; nothing more is said.
    func drop() {
        onNews = nil
        context?.close(promise: nil)
    }

    /// Closes the connection and says so.
    func fail(_ loss: Loss) {
        let tell = onNews
        drop()
        tell?(.lost(loss))
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        guard onNews != nil else { return context.close(promise: nil) }
        lastHeard = .now()
        context.write(wrapOutboundOut(.head(request)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastHeard = .now()
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(let part):
            guard head?.status == .ok else {
                if refusal.count + part.readableBytes <= HTTPAnswer.maximumBytes {
                    refusal.append(contentsOf: part.readableBytesView)
                }
                return
            }
            do {
                let items = try parser.feed(part.readableBytesView)
                if !items.isEmpty { onNews?(.items(items)) }
            } catch {
                fail(Loss(error))
            }
        case .end:
            guard let head, head.status != .ok else {
                return fail(Loss(reason: "the stream ended before the answer did"))
            }
            let tell = onNews
            drop()
            tell?(.refused(HTTPAnswer(status: Int(head.status.code), headers: head.headers, body: refusal)))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail(Loss(onConnection: error)) }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        fail(Loss(reason: "it closed the connection"))
    }
}
