import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// The handlers of a client's connection: HTTP/1.1 as NIO has it, between a gate and a last handler of our own in place of
/// an async channel, whose task and buffers are more than all the rest of an open stream.
struct GatewayChannel: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let channel: any Channel
    }

    /// Bytes that a connection's first read makes room for; it grows with what comes. A request's head is about as long.
    private static let firstRead = 1024
    /// Bytes of one read at most. What a connection has read waits in its gate.
    private static let largestRead = 16 << 10
    /// Bytes of all fields of a head, and of one of them; and how many there may be.
    private static let heads: NIOHTTPDecoderLimitConfiguration = {
        var limits = NIOHTTPDecoderLimitConfiguration()
        (limits.maxHeaderListSize, limits.maxHeaderFieldSize, limits.maxHeaderFieldCount) = (64 << 10, 32 << 10, 128)
        return limits
    }()

    let answerer: Answerer
    let limits: ConnectionClock.Limits
    let connections: OpenConnections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        connections.opened()
        channel.closeFuture.whenComplete { [connections] _ in connections.closed() }
        return channel.eventLoop.makeCompletedFuture {
            try channel.syncOptions?.setOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 64, initial: GatewayChannel.firstRead, maximum: GatewayChannel.largestRead))
            try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            let pipeline = channel.pipeline.syncOperations
            let gate = InboundGate()
            try pipeline.addHandler(gate)
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
                withEncoderConfiguration: .init(), withDecoderLimitConfiguration: GatewayChannel.heads)
            try pipeline.addHandler(
                RequestHandler(
                    connection: ClientConnection(channel: channel), answerer: answerer, gate: gate, limits: limits))
            return Value(channel: channel)
        }
    }

    /// The connection lives without a task; `OpenConnections` knows when all are gone.
    func handle(value: Value, logger: Logger) async {}
}
