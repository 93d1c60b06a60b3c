import Logging
import Metrics
import ServiceKit
import ServiceLifecycle
import Synchronization

/// Several pipelined connections to one Redis. A command goes out at once on the connection with the fewest waiting
/// replies; broken connections come back by themselves.
///
/// Two commands of which the second is sent before the first was answered may travel on two connections and arrive in
/// either order; `pipeline` keeps an order.
///
/// All commands go through one circuit breaker: while it is open they are refused at once as `.unavailable`.
public final class RedisPool: Service, Sendable {
    private let connections: [RedisConnection]
    private let executor: SocketExecutor
    private let gate: ReadyGate
    private let turn = Atomic<Int>(0)
    public let breaker: DependencyBreaker
    private let commandTime = Measures.redisCommand()

    public init(configuration: RedisConfiguration, logger: Logger) {
        let breaker = DependencyBreaker("redis", logger: logger)
        self.breaker = breaker
        // One thread for all: parsing replies is cheap, and a thread that is awake already answers soonest.
        let executor = SocketExecutor(name: "redis")
        let gate = ReadyGate()
        self.executor = executor
        self.gate = gate
        connections = (0..<max(1, configuration.poolSize)).map { _ in
            RedisConnection(configuration: configuration, executor: executor, logger: logger) { event in
                // Before anybody hears of it: whoever waited for the connection is not to be refused.
                if case .ready = event { breaker.reconnected() }
                gate.note(event)
            }
        }
    }

    deinit { executor.shutDown() }

    /// Connects and stays until cancelled or shut down; commands in flight then fail as `.connectionLost`.
    public func run() async throws {
        for connection in connections { await connection.link.start() }
        await cancelWhenGracefulShutdown { await self.breaker.keepProbing { try? await self.ping() } }
        for connection in connections { await connection.link.stop() }
    }

    /// Whether at least one connection is ready.
    public var isConnected: Bool { gate.isOpen }

    /// Returns as soon as a connection is ready; `.cancelled` when the task is.
    public func waitUntilConnected() async throws(RedisError) { try await gate.wait() }

    /// One PING round trip.
    public func ping() async throws(RedisError) { _ = try await send("PING") }

    public func send(_ command: String, _ arguments: RedisArgument...) async throws(RedisError) -> RedisValue {
        try await send(command, arguments)
    }

    /// - Throws: `.server` when the server refuses the command.
    public func send(_ command: String, _ arguments: [RedisArgument]) async throws(RedisError) -> RedisValue {
        var bytes: [UInt8] = []
        CommandEncoder.append(command, arguments, to: &bytes)
        guard let reply = try await exchange(bytes, replies: 1).first else {
            throw .unexpectedReply("nothing")
        }
        if case .error(let text) = reply { throw .server(text) }
        return reply
    }

    /// Several commands in one write on one connection: the server runs them in order (others' may come between).
    /// - Returns: a reply for each; a refused one is `.error` in its place.
    public func pipeline(_ commands: [(String, [RedisArgument])]) async throws(RedisError) -> [RedisValue] {
        guard !commands.isEmpty else { return [] }
        var bytes: [UInt8] = []
        for (command, arguments) in commands { CommandEncoder.append(command, arguments, to: &bytes) }
        return try await exchange(bytes, replies: commands.count)
    }

    private func exchange(_ bytes: [UInt8], replies: Int) async throws(RedisError) -> [RedisValue] {
        let permit: CircuitBreaker.Permit
        do throws(DependencyBreaker.Refusal) {
            permit = try breaker.admit()
        } catch {
            throw .unavailable(error.description)
        }
        do throws(RedisError) {
            let ledger = WaitLedger.current
            ledger?.begin(.redis)
            defer { ledger?.end(.redis) }
            let values = try await choose().exchange(bytes, replies: replies)
            commandTime.record(duration: permit.startedAt.duration(to: .now))
            breaker.settle(permit, RedisError.verdict(of: values))
            return values
        } catch {
            breaker.settle(permit, error.verdict, reason: error.description)
            throw error
        }
    }

    /// The ready connection with the fewest waiting replies; they take turns when equal. Without any, one of them
    /// says why it is not ready.
    private func choose() -> RedisConnection {
        let start = turn.wrappingAdd(1, ordering: .relaxed).oldValue & Int.max
        var best = connections[start % connections.count]
        var lowest = Int.max
        for offset in connections.indices {
            let connection = connections[(start &+ offset) % connections.count]
            guard let load = connection.load, load < lowest else { continue }
            if load == 0 { return connection }
            (best, lowest) = (connection, load)
        }
        return best
    }
}
