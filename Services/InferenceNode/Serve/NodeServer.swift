import ChatCore
import Foundation
import LlamaEngine
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import Synchronization

/// Takes jobs from the node's own queue, gives them to the engine, and sends the tokens to the orchestrators' inboxes:
/// one write for each engine step and orchestrator.
final class NodeServer: Service {
    /// Steps that wait to be sent, at most; an orchestrator that misses one sees the gap and asks again.
    private static let maximumUnsentSteps = 4096
    private static let heartbeat: Duration = .milliseconds(500)
    /// Missing three beats, a node is gone.
    private static let lifetime: Duration = .milliseconds(1800)

    /// How often orchestrators are looked after, and how many misses in a row mean death; they beat every second.
    private static let orchestratorCheck: Duration = .seconds(1)
    private static let missesOfTheDead = 3
    /// Writes of one batch, over about ten seconds.
    private static let writeAttempts = 14

    private let name: String
    private let model: String
    private let queue: QueueDeclaration
    private let consumer: RabbitConsumer
    private let redis: RedisPool
    private let control: Mutex<RedisSubscriber?> = Mutex(nil)
    private let engine: RunningEngine
    private let steps: Mailbox<[TokenEvent]>
    private let table = Mutex(JobTable())
    private let logger: Logger
    private let startedAt = Int64(Date().timeIntervalSince1970 * 1000)

    init(
        name: String, model: String, engine: RunningEngine, steps: Mailbox<[TokenEvent]>, redis: RedisPool,
        redisConfiguration: RedisConfiguration, rabbit: RabbitConfiguration, logger: Logger
    ) {
        self.name = name
        self.model = model
        self.engine = engine
        self.steps = steps
        self.redis = redis
        self.logger = logger
        queue = .node(incarnation: name)
        consumer = RabbitConsumer(
            configuration: rabbit, queues: [queue], prefetch: max(16, engine.maximumSequences), logger: logger)
        let control = RedisSubscriber(
            configuration: redisConfiguration, channels: [NodeControl.channel(node: name)], logger: logger
        ) { [weak self] event in
            if case .message(_, let payload) = event { self?.obey(payload) }
        }
        self.control.withLock { $0 = control }
    }

    func run() async throws {
        guard let control = control.withLock({ $0 }) else { return }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.consumer.run() }
            group.addTask { try await control.run() }
            group.addTask { await self.takeJobs() }
            group.addTask { await self.sendSteps() }
            group.addTask { await self.announce() }
            group.addTask { await self.watchOrchestrators() }
            try await group.next()
            // One part has ended: this node drains. Jobs in progress are cut off, and their turns go on elsewhere.
            await self.engine.engine.shutdown(.atOnce)
            self.steps.close()
            try await group.waitForAll()
        }
    }

    // MARK: Jobs in

    private func takeJobs() async {
        for await delivery in consumer.deliveries {
            do {
                let job = try JSONDecoder().decode(GenerationJob.self, from: Data(delivery.body))
                guard job.version == GenerationJob.formatVersion else { throw WireError(field: "version") }
                submit(job)
            } catch {
                logger.error("a message is no job", metadata: ["id": "\(delivery.id ?? "")", "error": "\(error)"])
            }
            // Whatever became of it: the orchestrator's own unacknowledged delivery is what keeps the turn.
            try? await delivery.acknowledge()
        }
    }

    private func submit(_ job: GenerationJob) {
        let admission = table.withLock { $0.admit(job, at: .now) }
        guard case .run(let request, let older) = admission else {
            return logger.debug("a stale job was dropped", metadata: ["turn": "\(job.turn)", "epoch": "\(job.epoch)"])
        }
        if let older { engine.engine.cancel(older) }
        do throws(EngineError) {
            try engine.engine.submit(GenerationRequest(request: request, job: job))
        } catch {
            table.withLock { $0.remove(request) }
            reply(to: job, TokenBatch.End(error.isFinal ? .refused : .unavailable, reason: error.description))
        }
    }

    private func reply(to job: GenerationJob, _ end: TokenBatch.End) {
        let item = TokenBatch.Item(
            turn: job.turn, epoch: job.epoch, attempt: job.attempt, first: job.outputSoFar.count, tokens: [], end: end,
            timeToFirstToken: nil)
        Task { await send(TokenBatch(node: name, items: [item]), to: job.orchestrator) }
    }

    /// Repeats a write that failed: a lost token shows as a gap, but a lost end would not. Doubles are dropped by index.
    private func send(_ batch: TokenBatch, to orchestrator: String) async {
        let payload = batch.encoded()
        var backoff = Backoff(base: .milliseconds(10), cap: .seconds(1))
        for _ in 0..<NodeServer.writeAttempts {
            do throws(RedisError) {
                return try await Inbox.write(redis, orchestrator: orchestrator, payload: payload)
            } catch {
                logger.warning("tokens could not be sent", metadata: ["error": "\(error)"])
                guard (try? await Task.sleep(for: backoff.next())) != nil else { return }
            }
        }
    }

    private func obey(_ payload: [UInt8]) {
        guard let order = try? JSONDecoder().decode(NodeControl.self, from: Data(payload)) else {
            return logger.warning("a malformed order was dropped")
        }
        if let request = table.withLock({ $0.request(for: order) }) { engine.engine.cancel(request) }
    }

    // MARK: Tokens out

    private func sendSteps() async {
        while let delivery = await steps.receive() {
            let batches = table.withLock { table in
                table.batches(of: Array(delivery.elements.joined()), node: name, at: .now)
            }
            await withDiscardingTaskGroup { group in
                for (orchestrator, batch) in batches { group.addTask { await self.send(batch, to: orchestrator) } }
            }
        }
    }

    // MARK: Presence

    private func announce() async {
        let directory = NodeDirectory(pool: redis)
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do throws(RedisError) {
                    // Only a node whose queue stands can take jobs.
                    if self.consumer.isConnected {
                        try await directory.announce(self.announcement, ttl: NodeServer.lifetime)
                    }
                } catch {
                    self.logger.warning("the node cannot be announced", metadata: ["error": "\(error)"])
                }
                try? await Task.sleep(for: NodeServer.heartbeat)
            }
        }
        await Task { try? await directory.withdraw(name) }.value
    }

    private var announcement: NodeAnnouncement {
        let statistics = engine.engine.statistics
        return NodeAnnouncement(
            id: name, model: model, numericsID: engine.numericsID, queue: queue.name,
            contextLength: engine.contextLength, maximumSequences: engine.maximumSequences,
            running: statistics.running, waiting: statistics.waiting, freeBlocks: statistics.freeBlocks,
            totalBlocks: statistics.totalBlocks, tokensPerSecond: statistics.decodeTokensPerSecond, startedAt: startedAt
        )
    }

    /// Work for an orchestrator that has died is work for nobody: whoever took its turns orders them anew.
    private func watchOrchestrators() async {
        let presence = Presence(pool: redis)
        await cancelWhenGracefulShutdown {
            // A Redis that was emptied has forgotten the living too, until their next beat: one miss proves nothing.
            var misses: [String: Int] = [:]
            while (try? await Task.sleep(for: NodeServer.orchestratorCheck)) != nil {
                let orchestrators = self.table.withLock { $0.orchestrators }
                misses = misses.filter { orchestrators.contains($0.key) }
                for orchestrator in orchestrators {
                    guard let isAlive = try? await presence.isAlive(kind: "orchestrator", id: orchestrator) else {
                        continue
                    }
                    misses[orchestrator] = isAlive ? 0 : misses[orchestrator, default: 0] + 1
                    if misses[orchestrator, default: 0] >= NodeServer.missesOfTheDead { self.drop(orchestrator) }
                }
            }
        }
    }

    private func drop(_ orchestrator: String) {
        let requests = table.withLock { $0.requests(of: orchestrator) }
        logger.notice(
            "work of a dead orchestrator is dropped",
            metadata: ["orchestrator": "\(orchestrator)", "jobs": "\(requests.count)"])
        requests.forEach(engine.engine.cancel)
    }
}

extension GenerationRequest {
    fileprivate init(request: UInt64, job: GenerationJob) {
        let sampling = job.sampling
        self.init(
            id: request, prompt: job.prompt, outputSoFar: job.outputSoFar, maxTokens: sampling.maxTokens,
            sampling: SamplingParameters(
                temperature: sampling.temperature, topK: sampling.topK, topP: sampling.topP, minP: sampling.minP,
                repetitionPenalty: sampling.repetitionPenalty, presencePenalty: sampling.presencePenalty,
                frequencyPenalty: sampling.frequencyPenalty, seed: sampling.seed),
            stop: sampling.stop, priority: job.kind.priority, cacheSalt: job.tenant)
    }
}

extension Turn.Kind {
    fileprivate var priority: RequestPriority {
        switch self {
        case .stream: .stream
        case .chat: .chat
        case .batch: .batch
        }
    }
}

extension EngineError {
    /// Whether no node could ever run the request.
    fileprivate var isFinal: Bool { if case .invalidRequest = self { true } else { false } }
}
