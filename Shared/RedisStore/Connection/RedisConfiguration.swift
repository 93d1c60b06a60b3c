/// How to reach a Redis and how much may wait for it.
public struct RedisConfiguration: Sendable {
    public var host: String
    public var port: Int
    /// Sent with AUTH on every connect; nil for a server without a password.
    public var password: String?
    /// Connections of a `RedisPool`; each carries many commands at a time.
    public var poolSize: Int
    /// For the TCP handshake and the greeting (AUTH, CLIENT SETNAME, PING) together.
    public var connectTimeout: Duration
    /// A command without a reply for this long fails as `.timedOut`, and its connection is given up.
    public var commandTimeout: Duration
    /// Commands that may wait for their replies on one connection; the next one is refused as `.overloaded`.
    public var maximumPending: Int
    /// Bytes that may wait to be written on one connection (the peer does not read); refused as `.overloaded` beyond.
    public var maximumUnsentBytes: Int
    /// What CLIENT LIST shows.
    public var clientName: String
    /// Finds the addresses of `host`, on a thread that may block.
    var lookUp: @Sendable (String) -> Result<[String], HostAddresses.Failure> = { HostAddresses.find($0) }

    public init(
        host: String = "127.0.0.1", port: Int = 6379, password: String? = nil, poolSize: Int = 4,
        connectTimeout: Duration = .seconds(2), commandTimeout: Duration = .seconds(2), maximumPending: Int = 4096,
        maximumUnsentBytes: Int = 64 << 20, clientName: String = "switchboard"
    ) {
        self.host = host
        self.port = port
        self.password = password
        self.poolSize = poolSize
        self.connectTimeout = connectTimeout
        self.commandTimeout = commandTimeout
        self.maximumPending = maximumPending
        self.maximumUnsentBytes = maximumUnsentBytes
        self.clientName = clientName
    }
}
