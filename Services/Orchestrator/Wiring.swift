import ChatCore
import Foundation
import Logging
import ModelFile
import OperatorPort
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TraceKit
import TurnProtocol

/// Makes the orchestrator of its settings. Services start in the order of the list and stop in the reverse.
func wireOrchestrator(_ settings: Settings, _ logger: Logger) async throws -> [any Service] {
    let redisConfiguration = try settings.redis(client: "orchestrator")
    let rabbitConfiguration = try settings.rabbit(client: "orchestrator")
    var planners = PromptPlanners(
        standard: try PromptPlanner(
            modelAt: try settings(Settings.modelPath), templateFile: try settings.optional(Settings.chatTemplateFile),
            logger: logger))
    if let lighter = try settings.optional(Settings.degradeModel),
        let path = try settings.optional(Settings.degradeModelPath)
    {
        planners.others[lighter] = try PromptPlanner(modelAt: path, logger: logger)
    }
    var logger = logger
    let name = "\(ProcessInfo.processInfo.hostName)-\(UInt32.random(in: .min ... .max))"
    logger[metadataKey: "orchestrator"] = "\(name)"
    let traces = try Traces(settings, service: "orchestrator", instance: name, logger: logger)

    let redis = RedisPool(configuration: redisConfiguration, logger: logger)
    let database = try ShardedDatabase(configuration: try settings.database(), logger: logger)
    let topology = Topology.platform(
        responseShards: database.shards.map(\.name), bounds: try settings.queueBounds())
    let publisher = RabbitPublisher(configuration: rabbitConfiguration, topology: topology, logger: logger)
    let consumer = RabbitConsumer(
        configuration: rabbitConfiguration, queues: topology.queues(named: Set(Topology.turnQueues)),
        alsoDeclares: topology, prefetch: try settings(Settings.orchestratorPrefetch),
        maximumBytes: TurnConsumer.maximumBytes, logger: logger)

    let metrics = TurnMetrics()
    let meter = FirstTokenMeter()
    let mail = TurnMail(meter: meter, logger: logger)
    var places = NodePool.Configuration(name: name)
    places.limits.tokenDeadline = try settings(Settings.tokenDeadline)
    places.patience.batch = try settings(Settings.batchPatience)
    places.contexts = planners.bounds(of: try settings(Settings.modelName))
    let nodes = NodePool(
        configuration: places, directory: NodeDirectory(pool: redis), loads: LoadDirectory(pool: redis), meter: meter,
        metrics: metrics, logger: logger
    ) { mail.tellAll(.nodeLost($0)) }
    let inbox = InboxReader(configuration: redisConfiguration, orchestrator: name, logger: logger) { mail.receive($0) }
    let contexts = ContextCache(pool: redis)
    let log = TurnLog(pool: redis, retention: try settings(Settings.turnRetention))
    let history = HistorySource(
        contexts: contexts, log: log, conversations: ConversationRepository(database: database), database: database,
        markers: Markers(pool: redis), publisher: publisher, logger: logger)
    let order = ConversationOrder(pool: redis)
    let ending = TurnEnding(
        log: log, order: order, contexts: contexts, outstanding: OutstandingTurns(pool: redis), publisher: publisher
    ) { database.shard(for: $0).name }
    let clock = RedisClock(pool: redis)
    let due = DueRetries(
        rabbit: rabbitConfiguration, topology: topology, publisher: publisher, clock: clock, logger: logger)
    let model = try settings(Settings.modelName)
    let parking = Parking(name: name, model: model, ending: ending, clock: clock, logger: logger)
    let presence = Presence(pool: redis)
    let answers = SharedAnswers(
        cache: AnswerCache(
            pool: redis, lifetime: try settings(Settings.answerCacheLifetime),
            maximumBytes: try settings(Settings.answerCacheSize) << 20),
        nodes: NodeDirectory(pool: redis))
    let services = TurnServices(
        rules: try HolderRules(settings, name: name), model: model, log: log, order: order, ending: ending,
        clock: clock,
        redis: redis, history: history, planners: planners, answers: answers, nodes: nodes, mail: mail,
        presence: presence,
        parking: parking, cancels: CancelOrders(redis: redis, logger: logger),
        hedging: Hedging(percent: try settings(Settings.turnHedgeBudget)), publisher: publisher,
        metrics: metrics, tracer: traces.tracer)
    let hints = RedisSubscriber(
        configuration: redisConfiguration, channels: [TurnLog.channel(ofOwner: name), ConversationOrder.channel],
        logger: logger
    ) { event in
        guard case .message(let channel, let payload) = event,
            let turn = TurnID(String(decoding: payload, as: UTF8.self))
        else { return }
        if channel == ConversationOrder.channel {
            mail.tell(turn, .becameHead)
        } else if !mail.tell(turn, .cancelRequested) {
            parking.cancel(turn)
        }
    }
    let heart = Heart(presence: presence, name: name, mail: mail, logger: logger)
    let turns = TurnConsumer(consumer: consumer, presence: presence, services: services, logger: logger)
    let waiting = WaitingNews(nodes: nodes, log: log, logger: logger)
    let notice = DrainNotice()
    let port = try OperatorPort(
        settings, port: Settings.orchestratorOperatorPort,
        probes: Probes(readiness: [
            notice.check, Probes.holds("redis is not connected") { redis.isConnected }, Probes.closed(redis.breaker),
            Probes.closed(redis.writes), Probes.admits(redis),
            { publisher.reluctance },
            Probes.holds("rabbitmq is not connected") { consumer.isConnected },
            Probes.anyClosed(database.shards.map(\.pool.breaker)), Probes.admits(database),
        ]), logger: logger)
    return traces.services + [
        port, redis, database, publisher, inbox, hints, nodes, waiting, parking, heart, due, turns, notice,
    ]
}

/// Tells nodes that this orchestrator lives, and its turns that time passes.
private struct Heart: Service {
    let presence: Presence
    let name: String
    let mail: TurnMail
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do throws(RedisError) {
                    try await presence.beat(kind: TurnServices.kind, id: name, ttl: TurnConsumer.heartbeatLifetime)
                } catch {
                    logger.debug("a heartbeat was lost", metadata: ["error": "\(error)"])
                }
                mail.tick()
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }
}

extension PromptPlanner {
    /// Reads tokenizer, template and context length of a model; its weights are not touched.
    /// - Parameter templateFile: a template that stands for the model's own.
    init(modelAt path: String, templateFile: String? = nil, logger: Logger) throws {
        let source = try ModelSource(path: path)
        let tokenizer = try Tokenizer(source: source)
        for note in tokenizer.notes { logger.warning("the model's tokenizer", metadata: ["note": "\(note)"]) }
        let template =
            try templateFile.map { try ChatTemplate(path: $0, tokenizer: tokenizer) }
            ?? ChatTemplate(source: source, tokenizer: tokenizer)
        if template.isFallback {
            logger.warning(
                "the model has no chat template: it is asked in ChatML; CHAT_TEMPLATE_FILE names another",
                metadata: ["model": "\(path)"])
        }
        self.init(tokenizer: tokenizer, template: template, contextLength: try source.contextLength)
    }
}

extension HolderRules {
    init(_ settings: Settings, name: String) throws {
        self.init(name: name)
        fruitlessAttempts = try settings(Settings.turnPoisonAttempts)
        retries = try settings(Settings.turnRetries)
        longestRetry = max(1, Int(try settings(Settings.turnRetryMaxDelay) / .seconds(1)))
        detachGrace = Int64(try settings(Settings.detachGrace) / .milliseconds(1))
    }
}
