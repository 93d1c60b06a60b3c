import ChatClient
import NIOCore
import NIOHTTP1

/// A connection for requests that are answered at once: one at a time, used again and again. Confined to its event loop.
final class RequestConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart
    typealias Completion = (Result<HTTPAnswer, Loss>) -> Void

    /// It can take a request again.
    var onIdle: (RequestConnection) -> Void = { _ in }
    /// It is gone.
    var onClose: (RequestConnection) -> Void = { _ in }

    private var context: ChannelHandlerContext?
    private var completion: Completion?
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []
    private var failure: Loss?
    /// When the request must be answered, or when the connection became idle.
    private(set) var deadline = NIODeadline.distantFuture
    private(set) var idleSince = NIODeadline.now()

    var isBusy: Bool { completion != nil }

    /// - Precondition: it is connected and idle.
    func send(_ head: HTTPRequestHead, body: ByteBuffer, deadline: NIODeadline, _ completion: @escaping Completion) {
        guard let context, self.completion == nil else {
            return completion(.failure(Loss(reason: "the connection is gone")))
        }
        self.completion = completion
        self.deadline = deadline
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    func close(_ why: Loss) {
        failure = failure ?? why
        context?.close(promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body.removeAll(keepingCapacity: true)
        case .body(let part):
            guard body.count + part.readableBytes <= HTTPAnswer.maximumBytes else {
                return close(Loss(reason: "an answer of more than \(HTTPAnswer.maximumBytes) bytes"))
            }
            body.append(contentsOf: part.readableBytesView)
        case .end:
            guard let head, let completion else { return close(Loss(reason: "an answer that nobody asked for")) }
            self.head = nil
            self.completion = nil
            deadline = .distantFuture
            idleSince = .now()
            let answer = HTTPAnswer(status: Int(head.status.code), headers: head.headers, body: body)
            // First free, then answered: what the answer leads to may be the next request.
            if head.isKeepAlive { onIdle(self) } else { context.close(promise: nil) }
            completion(.success(answer))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { close(Loss(onConnection: error)) }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        onClose(self)
        guard let completion else { return }
        self.completion = nil
        completion(.failure(failure ?? Loss(reason: "it closed the connection")))
    }
}
