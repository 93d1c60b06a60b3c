import AsyncHTTPClient

extension HTTPClient.Configuration {
    /// Of a client that trusts this one certificate, and speaks HTTP/2 where the server does.
    public static func trusting(_ certificatePath: String) -> HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration()
        configuration.tlsConfiguration = .makeClientConfiguration()
        configuration.tlsConfiguration?.trustRoots = .file(certificatePath)
        configuration.timeout.connect = .seconds(5)
        return configuration
    }
}
