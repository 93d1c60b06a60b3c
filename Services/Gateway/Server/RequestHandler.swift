import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// The last handler of a connection: gives each request to a task of its own, and its answer's end back to the cycle.
///
/// Between requests a connection has no task, and while an answer is streamed only that answer's: ten thousand open
/// streams would otherwise each keep the stacks of everything that was ever called for them.
final class RequestHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let connection: ClientConnection
    private let answerer: Answerer
    private var cycle = RequestCycle()
    private var body: RequestBodySource?
    private var isReadPending = false
    private var closesAfterAnswer = false

    init(connection: ClientConnection, answerer: Answerer) {
        self.connection = connection
        self.answerer = answerer
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        perform(cycle.receive(unwrapInboundIn(data)), context)
    }

    func read(context: ChannelHandlerContext) {
        if cycle.mayRead, body?.hasRoom ?? true { context.read() } else { isReadPending = true }
    }

    private func readOn(_ context: ChannelHandlerContext) {
        guard isReadPending, cycle.mayRead, body?.hasRoom ?? true else { return }
        isReadPending = false
        context.read()
    }

    private func perform(_ step: RequestCycle.Step, _ context: ChannelHandlerContext) {
        switch step {
        case .none, .hold: break
        case .answer(let head, let body): answer(Request(head: head, body: RequestBody(buffer: body)))
        case .answerWhileReading(let head):
            let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
            let source = RequestBodySource(eventLoop: context.eventLoop) {
                bound.value.handler.readOn(bound.value.context)
            }
            body = source
            answer(Request(head: head, body: source.body))
        case .feed(let bytes): body?.feed(bytes)
        case .endBody:
            body?.finish(nil)
            body = nil
        }
    }

    private func answer(_ request: Request) {
        let arrival = ContinuousClock.now
        connection.begin { [answerer, connection] in await answerer.answer(request, on: connection, since: arrival) }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            if head.status.kind != .informational {
                closesAfterAnswer = head.headerFields[.connection]?.lowercased() == "close"
            }
            context.write(data, promise: promise)
        case .body: context.write(data, promise: promise)
        case .end:
            let written = promise ?? context.eventLoop.makePromise()
            context.writeAndFlush(data, promise: written)
            body?.finish(ChannelError.inputClosed)
            body = nil
            switch cycle.answerEnded(closes: closesAfterAnswer) {
            case .close:
                // What is still unsent goes before.
                let channel = context.channel
                written.futureResult.whenComplete { _ in channel.close(promise: nil) }
            case .proceed(let parts):
                for part in parts { perform(cycle.receive(part), context) }
                readOn(context)
            }
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        connection.setWritable(context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    // MARK: The end

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            cycle.inputEnded()
            body?.finish(ChannelError.inputClosed)
            connection.inputEnded()
            if !cycle.isAnswering { context.close(promise: nil) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        body?.finish(error)
        guard error is HTTPParserError, !cycle.isAnswering else { return context.close(promise: nil) }
        closesAfterAnswer = true
        let head = HTTPResponse(status: .badRequest, headerFields: [.connection: "close", .contentLength: "0"])
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        body?.finish(ChannelError.inputClosed)
        body = nil
        connection.closed()
    }
}
