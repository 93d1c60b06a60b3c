import Hummingbird
import Logging
import ServiceKit
import ServiceLifecycle

/// The port on which a service answers its operator's probes and scrapes, apart from whatever its clients do to it.
///
/// First in a service's list: it is there before the rest and until the drain has ended.
public struct OperatorPort: Service {
    /// Whoever asks has one connection, or two.
    private static let maximumConnections = 64

    private let host: String
    private let port: Int
    private let setting: String
    private let probes: Probes
    private let addRoutes: @Sendable (Router<BasicRequestContext>) -> Void
    private let logger: Logger

    /// - Parameters:
    ///   - port: the service's own setting; 0 takes a free port and logs it.
    ///   - addRoutes: adds what the service answers there besides.
    public init(
        _ settings: Settings, port: Setting<Int>, probes: Probes, logger: Logger,
        addRoutes: @escaping @Sendable (Router<BasicRequestContext>) -> Void = { _ in }
    ) throws(SettingsError) {
        self.addRoutes = addRoutes
        host = try settings(Settings.operatorHost)
        self.port = try settings(port)
        setting = port.name
        self.probes = probes
        self.logger = logger
    }

    /// - Throws: `Unavailable` when nothing can listen there.
    public func run() async throws {
        let router = Router()
        router.addProbes(probes)
        addRoutes(router)
        // What the library says of each connection is of no interest here.
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        let server = Application(
            router: router,
            server: .http1(configuration: .init(idleTimeout: .seconds(60))),
            configuration: .init(
                address: .hostname(host, port: port), serverName: "switchboard",
                availableConnectionsDelegate: .maximum(OperatorPort.maximumConnections, logger: quiet)),
            onServerRunning: { [logger] channel in
                logger.info(
                    "the operator's port is open",
                    metadata: ["port": "\(channel.localAddress?.port ?? 0)"])
            },
            logger: quiet)
        do {
            try await server.run()
        } catch let error as CancellationError {
            throw error
        } catch {
            throw Unavailable(reason: "\(setting): nothing can listen on \(host):\(port): \(error)")
        }
    }

    /// The port is somebody else's, or the address is not this machine's.
    public struct Unavailable: Error, CustomStringConvertible {
        let reason: String
        public var description: String { reason }
    }
}
