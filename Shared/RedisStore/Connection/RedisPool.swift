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
/// All commands go through one circuit breaker, and those that write through a second one, which opens while the server
/// answers but takes no writes. What an open breaker refuses fails at once as `.unavailable`, or `.writesRefused`.
public final class RedisPool: Service, Sendable {
    private let connections: [RedisConnection]
    private let executor: SocketExecutor
    private let gate: ReadyGate
    private let turn = Atomic<Int>(0)
    public let breaker: DependencyBreaker
    /// Open while Redis refuses writes; reads go on.
    public let writes: DependencyBreaker
    private let rights: RefusedRights
    private let renewals = Throttle(.seconds(1))
    private let unknown: UnknownReplies
    private let commandTime = Measures.redisCommand()

    public init(configuration: RedisConfiguration, logger: Logger) {
        let breaker = DependencyBreaker("redis", logger: logger)
        self.breaker = breaker
        var policy = CircuitBreaker.Policy()
        policy.failures = 3
        writes = DependencyBreaker("redis.writes", policy: policy, logger: logger)
        unknown = UnknownReplies(logger: logger)
        // One thread for all: parsing replies is cheap, and a thread that is awake already answers soonest.
        let executor = SocketExecutor(name: "redis")
        let gate = ReadyGate()
        let rights = RefusedRights()
        self.rights = rights
        self.executor = executor
        self.gate = gate
        connections = (0..<max(1, configuration.poolSize)).map { _ in
            RedisConnection(configuration: configuration, executor: executor, logger: logger) { event in
                // Before anybody hears of it: whoever waited for the connection is not to be refused.
                if case .ready = event { breaker.reconnected() }
                if case .refused(let text) = event, RedisRefusal(text).kind == .credentials {
                    rights.note(text, at: .now)
                }
                gate.note(event)
            }
        }
    }

    deinit { executor.shutDown() }

    /// Connects and stays until cancelled or shut down; commands in flight then fail as `.connectionLost`.
    public func run() async throws {
        for connection in connections { await connection.link.start() }
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.breaker.keepProbing { try? await self.ping() } }
                group.addTask { await self.writes.keepProbing { try? await self.tryToWrite() } }
                group.addTask { await self.watchWrites() }
            }
        }
        for connection in connections { await connection.link.stop() }
    }

    /// Whether at least one connection is ready.
    public var isConnected: Bool { gate.isOpen }

    var isFullyConnected: Bool { gate.count == connections.count }

    /// Returns as soon as a connection is ready; `.cancelled` when the task is.
    public func waitUntilConnected() async throws(RedisError) { try await gate.wait() }

    /// One PING round trip. A server that takes no writes may refuse even that (`MISCONF`), which is an answer.
    public func ping() async throws(RedisError) {
        do throws(RedisError) {
            _ = try await send("PING")
        } catch {
            guard error.refusal?.kind == .outageOfWrites else { throw error }
        }
    }

    /// One write that changes nothing of importance: whether Redis takes writes.
    public func tryToWrite() async throws(RedisError) { _ = try await send("SET", "probe:writes", "1", "PX", 1000) }

    /// Why Redis does not let this process in, or not to some command; nil when it was not refused in the last seconds.
    public var refusedRights: String? { rights.reason(at: .now) }

    public func send(_ command: String, _ arguments: RedisArgument...) async throws(RedisError) -> RedisValue {
        try await send(command, arguments)
    }

    /// - Throws: `.server` when the server refuses the command.
    public func send(_ command: String, _ arguments: [RedisArgument]) async throws(RedisError) -> RedisValue {
        try await send(command, arguments, CommandEffect(of: command))
    }

    func send(
        _ command: String, _ arguments: [RedisArgument], _ effect: CommandEffect
    ) async throws(RedisError) -> RedisValue {
        var bytes: [UInt8] = []
        CommandEncoder.append(command, arguments, to: &bytes)
        guard let reply = try await exchange(bytes, replies: 1, effect).first else {
            throw .unexpectedReply("nothing")
        }
        if case .error(let text) = reply { throw .server(text) }
        return reply
    }

    /// Several commands in one write on one connection: the server runs them in order (others' may come between).
    /// - Returns: a reply for each; a refused one is `.error` in its place.
    public func pipeline(_ commands: [(String, [RedisArgument])]) async throws(RedisError) -> [RedisValue] {
        try await pipeline(commands, CommandEffect(of: commands.map { CommandEffect(of: $0.0) }))
    }

    func pipeline(
        _ commands: [(String, [RedisArgument])], _ effect: CommandEffect
    ) async throws(RedisError) -> [RedisValue] {
        guard !commands.isEmpty else { return [] }
        var bytes: [UInt8] = []
        for (command, arguments) in commands { CommandEncoder.append(command, arguments, to: &bytes) }
        return try await exchange(bytes, replies: commands.count, effect)
    }

    private func exchange(
        _ bytes: [UInt8], replies: Int, _ effect: CommandEffect
    ) async throws(RedisError) -> [RedisValue] {
        let permit: CircuitBreaker.Permit
        var writePermit: CircuitBreaker.Permit?
        do throws(DependencyBreaker.Refusal) {
            permit = try breaker.admit()
        } catch {
            throw .unavailable(error.description)
        }
        do throws(DependencyBreaker.Refusal) {
            if effect != .reads { writePermit = try writes.admit() }
        } catch {
            breaker.settle(permit, .neither)
            throw .writesRefused(error.description)
        }
        do throws(RedisError) {
            let ledger = WaitLedger.current
            ledger?.begin(.redis)
            defer { ledger?.end(.redis) }
            let (connection, values) = try await exchangeOnOne(bytes, replies: replies)
            commandTime.record(duration: permit.startedAt.duration(to: .now))
            settle(permit, writePermit, values, effect)
            if writePermit != nil { leaveReplica(connection, values) }
            return values
        } catch {
            breaker.settle(permit, error.verdict, reason: error.description)
            if let writePermit { writes.settle(writePermit, .neither) }
            throw error
        }
    }

    private func exchangeOnOne(
        _ bytes: [UInt8], replies: Int
    ) async throws(RedisError) -> (RedisConnection, [RedisValue]) {
        let first = choose()
        do throws(RedisError) {
            return (first, try await first.exchange(bytes, replies: replies))
        } catch .unavailable where gate.isOpen {
            // It went between the choice and the write: nothing was sent, and another one is ready.
            let second = choose()
            return (second, try await second.exchange(bytes, replies: replies))
        }
    }

    /// Whether writes are taken is found out also while nobody has anything to write.
    private func watchWrites() async {
        while (try? await Task.sleep(for: .seconds(1))) != nil {
            if isConnected, writes.state == .closed { try? await tryToWrite() }
        }
    }

    /// Tells both breakers what replies say about the server.
    private func settle(
        _ permit: CircuitBreaker.Permit, _ writePermit: CircuitBreaker.Permit?, _ values: [RedisValue],
        _ effect: CommandEffect
    ) {
        var outage: String?
        var refusedWrite: String?
        var hasErrors = false
        for case .error(let text) in values {
            hasErrors = true
            let refusal = RedisRefusal(text)
            if !refusal.isKnown { unknown.note(text) }
            if refusal.kind.verdict == .failure { outage = text }
            if refusal.kind == .credentials { rights.note(text, at: .now) }
            if refusal.kind == .outageOfWrites { refusedWrite = text }
        }
        breaker.settle(permit, outage == nil ? .success : .failure, reason: outage ?? "")
        guard let writePermit else { return }
        let verdict: CircuitBreaker.Verdict =
            refusedWrite != nil ? .failure : effect == .writes && !hasErrors ? .success : .neither
        writes.settle(writePermit, verdict, reason: refusedWrite ?? "")
    }

    /// After a failover the address leads to the new master, and an old connection still to what is a replica now: it is
    /// made anew, one a second, idle, and never the last.
    private func leaveReplica(_ connection: RedisConnection, _ values: [RedisValue]) {
        let isReplica = values.contains { if case .error(let text) = $0 { text.hasPrefix("READONLY") } else { false } }
        guard isReplica, gate.count > 1, connection.load == 0 else { return }
        guard renewals.take() else { return }
        Task { await connection.link.renew("the server is a replica") }
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
