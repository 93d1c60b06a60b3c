import Foundation
import LlamaEngine
import Logging
import OperatorPort
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import TraceKit

/// Makes the node of its settings. Services start in the order of the list and stop in the reverse.
func wireInferenceNode(_ settings: Settings, _ choice: EngineChoice, _ logger: Logger) throws -> [any Service] {
    let redisConfiguration = try settings.redis(client: "inference-node")
    let rabbit = try settings.rabbit(client: "inference-node")
    // A new name each time: a node that comes back is another, and what was sent to the old one is not its business.
    let name = "\(ProcessInfo.processInfo.hostName)-\(UInt32.random(in: .min ... .max))"
    var logger = logger
    logger[metadataKey: "node"] = "\(name)"
    let traces = try Traces(settings, service: "inference-node", instance: name, logger: logger)
    let outbox = StepOutbox()
    let model = try settings(Settings.modelName)
    let metrics = NodeMetrics(model: model)
    let engine = try RunningEngine(
        choice, settings: settings, logger: logger,
        onStep: { events in
            metrics.take(events, at: .now)
            outbox.add(events)
        }, report: { metrics.take($0, at: .now) })
    metrics.observe(engine.engine)
    let redis = RedisPool(configuration: redisConfiguration, logger: logger)
    let server = NodeServer(
        name: name, model: model, engine: engine, metrics: metrics, outbox: outbox, redis: redis,
        redisConfiguration: redisConfiguration, rabbit: rabbit, drain: try settings(Settings.nodeDrain), logger: logger,
        tracer: traces.tracer)
    let notice = DrainNotice()
    let deadline = try settings(Settings.tokenDeadline)
    let makesSteps = Probes.holds("the engine has work and makes no step") {
        !server.isHanging(tokenDeadline: deadline)
    }
    let port = try OperatorPort(
        settings, port: Settings.nodeOperatorPort,
        probes: Probes(
            liveness: [makesSteps],
            readiness: [
                notice.check, makesSteps, Probes.holds("redis is not connected") { redis.isConnected },
                Probes.closed(redis.breaker), Probes.closed(redis.writes), Probes.admits(redis),
                Probes.holds("rabbitmq is not connected") { server.isConnected },
            ]), logger: logger)
    return traces.services + [port, redis, server, notice]
}
