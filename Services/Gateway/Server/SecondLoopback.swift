import Logging
import ServiceLifecycle

/// The server on the loopback address of IPv6, beside the one on that of IPv4: `localhost` may be either. A machine may
/// have no such address, or somebody else on its port; the gateway goes on without.
struct SecondLoopback: Service {
    static let address = "::1"

    let server: any Service
    let logger: Logger

    /// The addresses of a host name: both loopbacks for the first one and for the name of both.
    static func addresses(of host: String) -> (first: String, hasSecond: Bool) {
        host == "localhost" || host == "127.0.0.1" ? ("127.0.0.1", true) : (host, false)
    }

    func run() async throws {
        do {
            try await server.run()
        } catch let error as CancellationError {
            throw error
        } catch {
            logger.notice(
                "nothing listens on the loopback address of IPv6",
                metadata: ["address": "\(SecondLoopback.address)", "error": "\(error)"])
        }
    }
}
