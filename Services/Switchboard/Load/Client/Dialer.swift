import ChatClient
import NIOCore
import NIOHTTP1
import NIOPosix

/// Opens HTTP/1.1 connections to one gateway. Confined to its event loop.
final class Dialer {
    let gateway: GatewayAddress
    private let address: SocketAddress
    private let loop: any EventLoop

    private static let connectTimeout: TimeAmount = .seconds(5)

    init(_ gateway: GatewayAddress, address: SocketAddress, loop: any EventLoop) {
        self.gateway = gateway
        self.address = address
        self.loop = loop
    }

    /// - Parameters:
    ///   - handler: hears what comes; it is in the pipeline before the connection is made.
    ///   - completion: told nil when the connection is there, or why it could not be made.
    func connect(_ handler: some ChannelInboundHandler, _ completion: @escaping (Loss?) -> Void) {
        let bound = NIOLoopBound(handler, eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(Dialer.connectTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
            .connect(to: address)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success: completion(nil)
                case .failure(let error): completion(Loss(error))
                }
            }
    }
}
