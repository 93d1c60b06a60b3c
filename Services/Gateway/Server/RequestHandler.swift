import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// The last handler of a connection: gives each request to a task of its own, and its answer's end back to the cycle; and
/// closes the connection of a client that takes too long.
///
/// Between requests a connection has no task, and while an answer is streamed only that answer's: ten thousand open
/// streams would otherwise each keep the stacks of everything that was ever called for them.
final class RequestHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private let connection: ClientConnection
    private let answerer: Answerer
    private let gate: InboundGate
    private var cycle = RequestCycle()
    private var clock: ConnectionClock
    private var alarm: Scheduled<Void>?
    private var alarmAt: ConnectionClock.Instant?
    private var body: RequestBodySource?
    private var closesAfterAnswer = false
    /// The head of the answer under way was written: there can be no other.
    private var isHeadWritten = false
    /// What came was no request, and was answered: nothing more is.
    private var isRefused = false
    /// The last thing that was written.
    private var written: EventLoopFuture<Void>?

    init(connection: ClientConnection, answerer: Answerer, gate: InboundGate, limits: ConnectionClock.Limits) {
        self.connection = connection
        self.answerer = answerer
        self.gate = gate
        clock = ConnectionClock(limits)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        gate.appetite = { [weak self] in self?.appetite(channel) ?? 0 }
        gate.isBodyAwaited = { [weak self] in self?.cycle.phase == .body }
        setAlarm(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        alarm?.cancel()
        body?.finish(ChannelError.inputClosed)
        body = nil
        connection.closed()
    }

    // MARK: Requests

    /// Bytes that may be decoded now. No request is begun while the client does not take what was answered.
    private func appetite(_ channel: any Channel) -> Int {
        guard channel.isWritable || cycle.phase == .body, body?.hasRoom ?? true else { return 0 }
        return cycle.appetite
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What stood behind it in the same bytes.
        guard !isRefused else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            if let refusal = RequestHeadCheck.refusal(of: head) { return refuse(refusal, context) }
            do {
                let isOld = head.version.major == 1 && head.version.minor == 0
                cycle.receive(
                    .head(.init(request: try HTTPRequest(head, secure: false, splitCookie: false), isHTTP10: isOld)))
            } catch {
                return refuse(.malformedRequest, context)
            }
        case .body(let bytes):
            clock.received(bytes.readableBytes)
            cycle.receive(.body(bytes))
        case .end: cycle.receive(.end)
        }
        advance(context)
    }

    private func advance(_ context: ChannelHandlerContext) {
        while let step = cycle.next(mayBegin: context.channel.isWritable) {
            perform(step, context)
            clock.enter(cycle.phase)
        }
        setAlarm(context)
        gate.pass()
    }

    private func perform(_ step: RequestCycle.Step, _ context: ChannelHandlerContext) {
        switch step {
        case .none: break
        case .answer(let head, let body): answer(Request(head: head, body: RequestBody(buffer: body)))
        case .answerWhileReading(let head):
            let bound = NIOLoopBound(gate, eventLoop: context.eventLoop)
            let source = RequestBodySource(eventLoop: context.eventLoop) { bound.value.pass() }
            body = source
            answer(Request(head: head, body: source.body))
        case .feed(let bytes): body?.feed(bytes)
        case .endBody:
            body?.finish(nil)
            body = nil
        case .close: closeWhenWritten(context)
        }
    }

    private func answer(_ request: Request) {
        let arrival = ContinuousClock.now
        connection.begin { [answerer, connection] in await answerer.answer(request, on: connection, since: arrival) }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head) where head.status.kind == .informational:
            // Asked for too late: the body is coming, or has come.
            guard cycle.takeContinue() else { return promise?.succeed() ?? () }
            context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(head))), promise: promise)
        case .head(let head):
            isHeadWritten = true
            context.write(wrapOutboundOut(.head(last(head))), promise: promise)
        case .body(let bytes): context.write(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: promise)
        case .end(let trailers):
            let written = promise ?? context.eventLoop.makePromise()
            self.written = written.futureResult
            context.writeAndFlush(wrapOutboundOut(.end(trailers.map(HTTPHeaders.init))), promise: written)
            body?.finish(ChannelError.inputClosed)
            body = nil
            isHeadWritten = false
            let continuation = cycle.answerEnded(closes: closesAfterAnswer)
            clock.enter(cycle.phase)
            switch continuation {
            case .close: closeWhenWritten(context)
            case .linger, .proceed: break
            }
            advance(context)
        }
    }

    /// The head of an answer in the client's protocol, with word of it when the answer is the connection's last.
    private func last(_ head: HTTPResponse) -> HTTPResponseHead {
        var old = HTTPResponseHead(head)
        if head.headerFields[.connection]?.lowercased() == "close" {
            closesAfterAnswer = true
        } else if cycle.isLast || cycle.isUsedUp {
            closesAfterAnswer = true
            old.headers.replaceOrAdd(name: "Connection", value: "close")
        }
        if cycle.answersHTTP10 { old.version = .http1_0 }
        return old
    }

    /// What is still unsent goes before.
    private func closeWhenWritten(_ context: ChannelHandlerContext) {
        let channel = context.channel
        guard let written else { return context.close(promise: nil) }
        written.whenComplete { _ in channel.close(promise: nil) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        connection.setWritable(isWritable)
        clock.setWritable(isWritable)
        advance(context)
        context.fireChannelWritabilityChanged()
    }

    // MARK: Time

    private func setAlarm(_ context: ChannelHandlerContext) {
        guard let deadline = clock.deadline else { return }
        // One that comes too early looks again.
        if alarm != nil, let alarmAt, alarmAt <= deadline { return }
        alarm?.cancel()
        alarmAt = deadline
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        alarm = context.eventLoop.scheduleTask(in: TimeAmount(max(.zero, deadline - .now))) {
            let (handler, context) = bound.value
            handler.alarm = nil
            guard let deadline = handler.clock.deadline else { return }
            if deadline <= .now { handler.outOfTime(context) } else { handler.setAlarm(context) }
        }
    }

    /// The client has taken too long. Whose body did not come in time is told so, where an answer is still due.
    private func outOfTime(_ context: ChannelHandlerContext) {
        if !giveUpBody(context) { context.close(promise: nil) }
    }

    /// Answers a request whose body is not waited for any longer. The rest of it is dropped before the connection is closed,
    /// as after any answer that is the last, so that the client gets to read it.
    /// - Returns: false when no answer is due, or the client takes none.
    private func giveUpBody(_ context: ChannelHandlerContext) -> Bool {
        guard !isHeadWritten, context.channel.isWritable, let abandonment = cycle.giveUpBody() else { return false }
        clock.enter(cycle.phase)
        switch abandonment {
        case .tellReader:
            body?.finish(APIError.bodyTooSlow)
            body = nil
        case .answer(let head):
            let (response, text) = answer(saying: .bodyTooSlow)
            write(context: context, data: NIOAny(HTTPResponsePart.head(response)), promise: nil)
            if head.method != .head { write(context: context, data: NIOAny(HTTPResponsePart.body(text)), promise: nil) }
            write(context: context, data: NIOAny(HTTPResponsePart.end(nil)), promise: nil)
        }
        return true
    }

    /// The answer to what no route gets to see.
    private func answer(saying error: APIError) -> (HTTPResponse, ByteBuffer) {
        let text = ByteBuffer(string: error.json.text + "\n")
        let response = HTTPResponse(
            status: error.status,
            headerFields: [
                .contentType: JSON.mediaType, .contentLength: "\(text.readableBytes)",
                .server: answerer.serverName, .date: answerer.date.now,
            ])
        return (response, text)
    }

    // MARK: The end

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            cycle.inputEnded()
            clock.enter(cycle.phase)
            body?.finish(ChannelError.inputClosed)
            body = nil
            connection.inputEnded()
            if !cycle.isAnswering { closeWhenWritten(context) }
        case is ChannelShouldQuiesceEvent:
            clock.drain()
            cycle.endAfterAnswer()
            if cycle.isIdle { context.close(promise: nil) } else { setAlarm(context) }
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case HTTPParserError.headerOverflow: refuse(.headersTooLarge, context)
        case HTTPParserError.invalidMethod: refuse(.unknownMethod, context)
        case is HTTPParserError: refuse(.malformedRequest, context)
        default:
            body?.finish(error)
            context.close(promise: nil)
        }
    }

    /// What the client sends is no request. The answer under way, if there is one, is the last; else this is.
    private func refuse(_ error: APIError, _ context: ChannelHandlerContext) {
        guard !isRefused else { return }
        isRefused = true
        gate.shut()
        body?.finish(ChannelError.inputClosed)
        body = nil
        let wasAnswering = cycle.isAnswering
        cycle.inputEnded()
        guard !wasAnswering else { return }
        let (response, text) = answer(saying: error)
        var head = HTTPResponseHead(response)
        head.headers.replaceOrAdd(name: "Connection", value: "close")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(text))), promise: nil)
        written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
        closeWhenWritten(context)
    }
}
