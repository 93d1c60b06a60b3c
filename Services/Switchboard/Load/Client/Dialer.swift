import ChatClient
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Opens HTTP/1.1 connections to one gateway, over TLS where its URL says https. Confined to its event loop.
final class Dialer {
    let gateway: GatewayAddress
    private let address: SocketAddress
    private let security: NIOSSLContext?
    private let loop: any EventLoop

    private static let connectTimeout: TimeAmount = .seconds(5)

    /// - Parameter security: how a gateway proves who it is, when its URL says https.
    init(_ gateway: GatewayAddress, address: SocketAddress, security: NIOSSLContext?, loop: any EventLoop) {
        self.gateway = gateway
        self.address = address
        self.security = gateway.isSecure ? security : nil
        self.loop = loop
    }

    /// - Parameters:
    ///   - handler: hears what comes; it is in the pipeline before the connection is made.
    ///   - completion: told nil when the connection is there, or why it could not be made.
    func connect(_ handler: some ChannelInboundHandler, _ completion: @escaping (Loss?) -> Void) {
        let bound = NIOLoopBound(handler, eventLoop: loop)
        // A certificate names hosts or addresses; of an address the connection itself knows which it is.
        let (security, name) = (security, gateway.literal == nil ? gateway.host : nil)
        ClientBootstrap(group: loop)
            .connectTimeout(Dialer.connectTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let security {
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(context: security, serverHostname: name))
                    }
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
            .connect(to: address)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success: completion(nil)
                case .failure(let error): completion(Loss(onConnection: error))
                }
            }
    }
}

extension Loss {
    /// Why a connection came to nothing, as HTTP and TLS say it.
    init(onConnection error: any Error) {
        switch error {
        case NIOSSLError.handshakeFailed: self.init(reason: "it does not prove over TLS who it is")
        case HTTPParserError.invalidEOFState, NIOSSLError.uncleanShutdown:
            self.init(reason: "it closed the connection")
        default: self.init(error)
        }
    }
}
