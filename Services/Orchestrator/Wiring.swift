import ChatCore
import Foundation
import Logging
import ModelFile
import PostgresStore
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TurnProtocol

/// Makes the orchestrator of its settings. Services start in the order of the list and stop in the reverse.
func wireOrchestrator(_ settings: Settings, _ logger: Logger) async throws -> [any Service] {
    let redisConfiguration = try settings.redis(client: "orchestrator")
    let rabbitConfiguration = try settings.rabbit(client: "orchestrator")
    let planner = try PromptPlanner(modelAt: try settings(Settings.modelPath))
    var logger = logger
    let name = "\(ProcessInfo.processInfo.hostName)-\(UInt32.random(in: .min ... .max))"
    logger[metadataKey: "orchestrator"] = "\(name)"

    let redis = RedisPool(configuration: redisConfiguration, logger: logger)
    let database = try ShardedDatabase(configuration: try settings.database(), logger: logger)
    let topology = Topology.platform(responseShards: database.shards.map(\.name))
    let publisher = RabbitPublisher(configuration: rabbitConfiguration, topology: topology, logger: logger)
    let consumer = RabbitConsumer(
        configuration: rabbitConfiguration, queues: topology.queues.filter { Topology.turnQueues.contains($0.name) },
        alsoDeclares: topology, prefetch: try settings(Settings.orchestratorPrefetch), logger: logger)

    let mail = TurnMail(logger: logger)
    let nodes = NodePool(directory: NodeDirectory(pool: redis), logger: logger) { mail.tellAll(.nodeLost($0)) }
    let inbox = InboxReader(configuration: redisConfiguration, orchestrator: name, logger: logger) { mail.receive($0) }
    let cancellations = RedisSubscriber(
        configuration: redisConfiguration, channels: [TurnLog.channel(ofOwner: name)], logger: logger
    ) { event in
        guard case .message(_, let payload) = event, let turn = TurnID(String(decoding: payload, as: UTF8.self)) else {
            return
        }
        mail.cancel(turn)
    }
    let contexts = ContextCache(pool: redis)
    let history = HistorySource(
        contexts: contexts, conversations: ConversationRepository(database: database), database: database,
        markers: Markers(pool: redis), publisher: publisher, logger: logger)
    let log = TurnLog(pool: redis, retention: try settings(Settings.turnRetention))
    let order = ConversationOrder(pool: redis)
    let ending = TurnEnding(
        log: log, order: order, contexts: contexts, outstanding: OutstandingTurns(pool: redis), publisher: publisher
    ) { database.shard(for: $0).name }
    let clock = RedisClock(pool: redis)
    let services = TurnServices(
        name: name, model: try settings(Settings.modelName), detachGrace: try settings(Settings.detachGrace),
        log: log, order: order, ending: ending, clock: clock, redis: redis, history: history,
        planner: planner, nodes: nodes, mail: mail, publisher: publisher)
    let due = DueRetries(
        rabbit: rabbitConfiguration, topology: topology, publisher: publisher, clock: clock, logger: logger)
    let presence = Presence(pool: redis)
    let heart = Heart(presence: presence, name: name, mail: mail, logger: logger)
    let turns = TurnConsumer(consumer: consumer, presence: presence, services: services, logger: logger)
    return [redis, database, publisher, inbox, cancellations, nodes, heart, due, turns]
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
                    try await presence.beat(kind: "orchestrator", id: name, ttl: TurnConsumer.heartbeatLifetime)
                } catch {
                    logger.debug("a heartbeat was lost", metadata: ["error": "\(error)"])
                }
                mail.tellAll(.tick)
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }
}

extension PromptPlanner {
    /// Reads tokenizer, template and context length of a model; its weights are not touched.
    init(modelAt path: String) throws {
        let source = try ModelSource(path: path)
        let tokenizer = try Tokenizer(source: source)
        self.init(
            tokenizer: tokenizer, template: try ChatTemplate(source: source, tokenizer: tokenizer),
            contextLength: try source.contextLength)
    }
}
