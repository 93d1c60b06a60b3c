import Logging
import ServiceLifecycle

/// Several pipelined connections to one Redis. A command goes out at once on the connection with the fewest waiting
/// replies; broken connections come back by themselves.
public final class RedisPool: Service, Sendable {
    public init(configuration: RedisConfiguration, logger: Logger) {}

    /// Connects and stays until cancelled or shut down; commands in flight then fail as `.connectionLost`.
    public func run() async throws {}

    /// Whether at least one connection is ready.
    public var isConnected: Bool { false }

    /// Returns as soon as a connection is ready; `.cancelled` when the task is.
    public func waitUntilConnected() async throws(RedisError) { throw RedisError.notBuilt }

    /// One PING round trip.
    public func ping() async throws(RedisError) { throw RedisError.notBuilt }

    public func send(_ command: String, _ arguments: RedisArgument...) async throws(RedisError) -> RedisValue {
        try await send(command, arguments)
    }

    public func send(_ command: String, _ arguments: [RedisArgument]) async throws(RedisError) -> RedisValue {
        throw RedisError.notBuilt
    }

    /// Several commands in one write on one connection: the server runs them in order (others' may come between).
    /// - Returns: a reply for each; a refused one is `.error` in its place.
    public func pipeline(_ commands: [(String, [RedisArgument])]) async throws(RedisError) -> [RedisValue] {
        throw RedisError.notBuilt
    }

    public func run(
        _ script: RedisScript, keys: [String], arguments: [RedisArgument]
    ) async throws(RedisError) -> RedisValue {
        throw RedisError.notBuilt
    }
}

extension RedisError {
    static var notBuilt: RedisError { .unavailable("not built yet") }
}
