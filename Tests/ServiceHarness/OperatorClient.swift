/// Whoever asks a service for its health and its metrics.
public struct OperatorClient: GatewayClient {
    public let port: Int
    public let key = ""

    public init(port: Int) { self.port = port }

    public func answer(_ path: String) async throws -> HTTPAnswer { try await get(path, key: nil) }
}

extension ServiceProcess {
    /// - Throws: while the process has not said on which port it listens.
    public func asked(_ path: String) async throws -> HTTPAnswer {
        guard let port = operatorPort else { throw HarnessError("\(name) has no operator's port yet") }
        return try await OperatorClient(port: port).answer(path)
    }
}
