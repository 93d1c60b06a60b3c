import Logging
import ServiceLifecycle
import Testing

@testable import gateway

@Suite struct SecondLoopbackTests {
    private struct Taken: Service, Error {
        func run() async throws { throw self }
    }

    @Test func theLoopbackIsBothAddressesAndOthersAreAsTheyAre() {
        for host in ["127.0.0.1", "localhost"] { #expect(SecondLoopback.addresses(of: host) == ("127.0.0.1", true)) }
        for host in ["0.0.0.0", "::", "10.1.2.3", "::1"] {
            #expect(SecondLoopback.addresses(of: host) == (host, false))
        }
    }

    @Test func theGatewayGoesOnWithoutIt() async throws {
        try await SecondLoopback(server: Taken(), logger: LiveServer.logger).run()
    }
}
