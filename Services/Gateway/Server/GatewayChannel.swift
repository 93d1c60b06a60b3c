import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// The handlers of a client's connection: HTTP/1.1 as NIO and Hummingbird have it, with a last handler of our own
/// in place of an async channel, whose task and buffers are more than all the rest of an open stream.
struct GatewayChannel: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let channel: any Channel
    }

    /// Bytes that a connection's first read makes room for; it grows with what comes. A request's head is about as long.
    private static let firstRead = 1024

    let answerer: Answerer
    let idleTimeout: Duration
    let connections: OpenConnections

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        connections.opened()
        channel.closeFuture.whenComplete { [connections] _ in connections.closed() }
        return channel.eventLoop.makeCompletedFuture {
            try channel.syncOptions?.setOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: GatewayChannel.firstRead, maximum: 65536))
            let pipeline = channel.pipeline.syncOperations
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false)
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            try pipeline.addHandler(HTTPConnectionStateHandler(idleTimeout: idleTimeout, logger: logger))
            try pipeline.addHandler(
                RequestHandler(connection: ClientConnection(channel: channel), answerer: answerer))
            return Value(channel: channel)
        }
    }

    /// The connection lives without a task; `OpenConnections` knows when all are gone.
    func handle(value: Value, logger: Logger) async {}
}
