import NIOCore

/// Stands between a client's socket and the decoder: passes on as many bytes as the connection's requests can take, keeps
/// the rest of what was read, and reads no more meanwhile. The decoder makes all requests at once of what it is given: of
/// one read, thousands.
final class InboundGate: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    /// Bytes that wait here at most. Beyond one read it is only what the kernel had when the client ended its side, all of
    /// which is read at once.
    static let capacity = 4 << 20

    /// Says how many bytes may be passed on.
    var appetite: () -> Int = { 0 }
    /// Says whether what waits here belongs to the request under way, though its reader has no room for it just now.
    var isBodyAwaited: () -> Bool = { false }
    private var waiting = ByteBuffer()
    private var isReadWanted = false
    private var isPassing = false
    private var hasInputEnded = false
    private var isShut = false
    private var context: ChannelHandlerContext?

    /// Bytes that wait here.
    var waitingBytes: Int { waiting.readableBytes }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        (appetite, isBodyAwaited) = ({ 0 }, { false })
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        guard !isShut else { return }
        if waiting.readableBytes == 0 { waiting = bytes } else { waiting.writeBuffer(&bytes) }
        guard waiting.readableBytes <= InboundGate.capacity else { return context.close(promise: nil) }
        pass()
    }

    /// Passes on what can be taken now, and reads more when nothing is left.
    func pass() {
        guard !isPassing, let context else { return }
        isPassing = true
        var hasPassed = false
        while waiting.readableBytes > 0, case let bytes = appetite(), bytes > 0,
            let slice = waiting.readSlice(length: min(bytes, waiting.readableBytes))
        {
            hasPassed = true
            context.fireChannelRead(wrapInboundOut(slice))
        }
        isPassing = false
        if hasPassed { context.fireChannelReadComplete() }
        if waiting.readableBytes == 0 { waiting = ByteBuffer() }
        if hasInputEnded, waiting.readableBytes == 0 || appetite() == 0 && !isBodyAwaited() {
            hasInputEnded = false
            return context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
        if waiting.readableBytes == 0 {
            if isReadWanted, appetite() > 0 {
                isReadWanted = false
                context.read()
            }
        }
    }

    /// Nothing more is passed on: what comes cannot be understood.
    func shut() {
        isShut = true
        waiting = ByteBuffer()
    }

    func read(context: ChannelHandlerContext) {
        if waiting.readableBytes == 0, appetite() > 0 { context.read() } else { isReadWanted = true }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event, waiting.readableBytes > 0, appetite() > 0 || isBodyAwaited() else {
            return context.fireUserInboundEventTriggered(event)
        }
        hasInputEnded = true
    }

}
