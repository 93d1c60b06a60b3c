/// Where the broker is and how patiently it is spoken to. One value serves every connection of a process.
public struct RabbitConfiguration: Sendable {
    public let host: String
    public let port: Int
    public let virtualHost: String
    let user: String
    let password: Password

    /// Silence after which either side gives the connection up is twice this. A stopped consumer's deliveries come back
    /// to the queue after about that long, so it bounds how late a failover begins.
    public var heartbeat: Duration = .seconds(5)
    /// How long a publish waits for the broker's confirm before it throws `.timedOut`.
    public var confirmTimeout: Duration = .seconds(10)
    /// How long resolving, connecting and logging in may take together for each address of the host.
    public var connectTimeout: Duration = .seconds(5)
    /// How long the broker may take to answer a declare, a consume or another synchronous method.
    public var callTimeout: Duration = .seconds(10)
    /// Publishes that may wait for their confirm at a time; one more throws `.overloaded`.
    public var maximumPendingPublishes = 4096
    /// Bytes that may wait for the socket while the broker pushes back; more throws `.overloaded`.
    public var maximumUnsentBytes = 64 << 20
    /// The largest body that is published or accepted; a larger delivery is dead-lettered unread.
    public var maximumBodyBytes = 8 << 20
    /// How the broker's operator sees this client among its connections; the kind of connection is appended.
    public var clientName = "switchboard"

    /// Reads `amqp://user:password@host:port/vhost` (the RabbitMQ URI specification). User and password default to
    /// `guest`, the port to 5672, the virtual host to `/`; percent-encoding is decoded in user, password and vhost.
    ///
    /// A path of a lone `/` means the default virtual host too: the specification says it is the empty one, but
    /// nearly every client and its documentation write it so.
    ///
    /// - Throws: `RabbitError.badURI` that names the part and never repeats what stood there.
    public init(uri: String) throws(RabbitError) {
        let parts = try ConnectionURI(parsing: uri)
        host = parts.host
        port = parts.port
        virtualHost = parts.virtualHost
        user = parts.user
        password = Password(parts.password)
    }
}

/// A secret that does not print itself, however its owner is logged.
struct Password: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    let value: String
    init(_ value: String) { self.value = value }
    var description: String { "(redacted)" }
    var debugDescription: String { description }
    var customMirror: Mirror { Mirror(self, children: []) }
}
