import ChatCore
import Foundation
import Hummingbird
import HummingbirdCore
import Logging
import NIOPosix
import OperatorPort
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TraceKit
import TurnProtocol

/// Makes the gateway of its settings. Services start in the order of the list and stop in the reverse.
func wireGateway(_ settings: Settings, _ logger: Logger) async throws -> [any Service] {
    let configuration = try GatewayConfiguration(settings)
    var logger = logger
    let name = "\(ProcessInfo.processInfo.hostName)-\(UInt32.random(in: .min ... .max))"
    logger[metadataKey: "gateway"] = "\(name)"
    let traces = try Traces(settings, service: "gateway", instance: name, logger: logger)

    let redis = RedisPool(configuration: configuration.redis, logger: logger)
    let database = try ShardedDatabase(configuration: configuration.database, logger: logger)
    let shards = database.shards.map(\.name)
    let topology = Topology.platform(responseShards: shards, bounds: try settings.queueBounds())
    let publisher = RabbitPublisher(configuration: configuration.rabbit, topology: topology, logger: logger)
    let inspector = QueueInspector(configuration: configuration.rabbit, logger: logger)
    let nodes = NodeDirectory(pool: redis)
    let log = TurnLog(pool: redis, retention: configuration.turnRetention)
    let conversations = ConversationRepository(database: database)
    let clock = RedisClock(pool: redis)
    let generation = GenerationMark(pool: redis)
    let finder = TurnFinder(
        log: log, settled: SettledTurns(conversations: conversations, logger: logger), generation: generation,
        clock: clock, horizon: configuration.longestLifeInRedis)
    let relay = TurnRelay(
        name: name, finder: finder, places: configuration.readers, redis: configuration.redis,
        logger: logger)

    MetricRegistry.process.observe(Measures.openStreams) { [weak relay] in Double(relay?.readerCount ?? 0) }

    let presence = Presence(pool: redis)
    let health = HealthMonitor(
        components: [
            .init("inference") { try await hasNode(nodes, redis) },
            .init("redis") {
                try await redis.ping(); return true
            },
            .init("redis_writes") {
                try await redis.tryToWrite(); return true
            },
            .init("database") { await isUp(database) },
            .init("database_writes") {
                guard database.shards.allSatisfy(\.pool.takesWrites) else { return false }
                // What the gateway cannot see the workers say. While Redis does not answer, nothing is known of it.
                return (try? await presence.alive(kind: Presence.refusingShards))?.isEmpty ?? true
            },
            .init("rabbitmq") {
                try await inspector.ping(); return publisher.takesMessages
            },
        ],
        populations: [
            .init("orchestrators") { try await presence.alive(kind: "orchestrator").count },
            .init("queue_workers") { try await presence.alive(kind: "queue-worker").count },
        ], logger: logger)
    let breakers =
        [redis.breaker, redis.writes, publisher.breaker] + database.shards.map(\.pool.breaker)
        + database.shards.map(\.pool.writes)

    let room = RedisRoom(redis: redis, watermark: configuration.redisHighWatermark, logger: logger)
    MetricRegistry.process.observe(Measures.redisMemory) { [weak room] in room?.share ?? 0 }
    let backlog = ResponseBacklog(shards: shards, inspector: inspector, logger: logger)
    let keys = IdempotencyKeys(pool: redis)
    let acceptance = TurnAcceptance(
        keys: keys, outstanding: OutstandingTurns(pool: redis), log: log, order: ConversationOrder(pool: redis),
        publisher: publisher, logger: logger)
    let admission = AdmissionControl(
        bounds: configuration.overload.bounds, ladder: configuration.overload.ladder, loads: LoadDirectory(pool: redis),
        nodes: nodes, outstanding: acceptance.outstanding, inspector: inspector,
        answers: SharedAnswers(
            cache: AnswerCache(
                pool: redis, lifetime: configuration.overload.answerLifetime,
                maximumBytes: configuration.overload.answerBytes),
            contexts: ContextCache(pool: redis), order: acceptance.order, logger: logger),
        logger: logger)
    let intake = TurnIntake(
        limits: configuration.intake, limiter: RateLimiter(pool: redis),
        gate: IntakeGate(
            publisher: publisher, backlog: backlog, database: database, redis: room,
            backlogLimit: configuration.maximumBacklog),
        admission: admission,
        repeats: RepeatedRequests(
            keys: keys, log: log, conversations: conversations, generation: generation, clock: clock, logger: logger),
        acceptance: acceptance, contexts: ContextCache(pool: redis), conversations: conversations, clock: clock,
        metrics: IntakeMetrics(), logger: logger, tracer: traces.tracer)
    let bodies = BodyRoom(maximumBytes: configuration.bodyRoomBytes)
    bodies.show(in: .process)
    let begin = BeginRoutes(
        intake: intake, relay: relay, body: BodyReader(maximumBytes: configuration.maximumBodyBytes),
        room: bodies,
        unknownFields: configuration.unknownFields)
    let follow = FollowRoutes(
        streams: .init(
            relay: relay, heartbeat: configuration.heartbeat, writeTime: Measures.streamWrite(), logger: logger),
        resumes: Measures.streamResumes())
    let operators = OperatorRoutes(
        health: health, inspector: inspector, breakers: breakers, shards: shards, redis: room)

    let router = Router(context: GatewayRequestContext.self)
    // Outermost, so that it sees the answers that errors become.
    router.add(middleware: RequestMetrics())
    router.add(middleware: CrossOriginMiddleware(origins: configuration.origins))
    router.add(middleware: TraceMiddleware(tracer: traces.tracer))
    router.add(middleware: ErrorMiddleware())
    router.add(middleware: MethodMiddleware())
    operators.addHealth(to: router)
    let notice = DrainNotice()
    let probes = Probes(
        readiness: [
            notice.check, Probes.holds("redis is not connected") { redis.isConnected }, Probes.closed(redis.breaker),
            Probes.admits(redis),
            { publisher.reluctance },
            Probes.anyClosed(database.shards.map(\.pool.breaker)), Probes.admits(database),
        ],
        // Streams are followed and answers are read all the same: a gateway that is not ready would serve neither.
        notices: [Probes.closed(redis.writes)])
    router.addProbes(probes, metricsAge: GatewayConfiguration.metricsAge)
    // What clients do to the public port must not make the gateway look dead.
    let operatorPort = try OperatorPort(
        settings, port: Settings.gatewayOperatorPort, probes: probes, logger: logger
    ) { operators.addHealth(to: $0) }
    let authenticator = Authenticator(keys: KeyRepository(directory: database.directory), logger: logger)
    let authenticated = router.group().add(middleware: AuthenticationMiddleware(authenticator: authenticator))
        .add(middleware: ReadLimitMiddleware(allowance: ReadAllowance(rate: configuration.readsPerSecond)))
    authenticated.get("/debug/queue-stats", use: operators.queueStatistics)
    begin.add(to: authenticated)
    follow.add(to: authenticated)

    let connections = OpenConnections()
    MetricRegistry.process.observe(Measures.connections) { Double(connections.count) }
    let channel = GatewayChannel(
        answerer: Answerer(
            responder: router.buildResponder(), serverName: "switchboard", date: DateHeader(), logger: logger),
        limits: .init(idle: configuration.idleTimeout), connections: connections)
    func server(on address: String, connections: Int) -> Server<GatewayChannel> {
        Server(
            childChannelSetup: channel,
            configuration: ServerConfiguration(
                address: .hostname(address, port: configuration.port), backlog: GatewayConfiguration.backlog,
                availableConnectionsDelegate: .maximum(connections, logger: logger)),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
    }
    let (address, hasSecond) = SecondLoopback.addresses(of: configuration.host)
    var servers: [any Service] = [server(on: address, connections: configuration.maximumConnections)]
    // Without a port of its own each would take another one.
    if hasSecond, configuration.port != 0 {
        let second = server(on: SecondLoopback.address, connections: configuration.connectionsOfSecondLoopback)
        servers.append(SecondLoopback(server: second, logger: logger))
    }
    let draining = DrainingServer(
        servers: servers, connections: connections, relay: relay, grace: configuration.drain)
    return traces.services + [
        operatorPort, redis, database, publisher, inspector, generation, relay, health, backlog, room, admission,
        draining, notice,
    ]
}

/// Whether some node is announced.
/// - Throws: `HealthMonitor.Unknown` while Redis takes no writes: nodes announce themselves by writing, so that the living fall
///   silent with the dead.
private func hasNode(_ nodes: NodeDirectory, _ redis: RedisPool) async throws -> Bool {
    do throws(RedisError) {
        if try await !nodes.nodes().isEmpty { return true }
        try await redis.tryToWrite()
        return false
    } catch {
        guard error.isOfWritesAlone else { throw error }
        throw HealthMonitor.Unknown()
    }
}

/// Whether every shard answers.
private func isUp(_ database: ShardedDatabase) async -> Bool {
    let answers = await database.onAll { shard throws(DatabaseError) in try await shard.pool.ping() }
    return answers.allSatisfy { if case .success = $0.result { true } else { false } }
}
