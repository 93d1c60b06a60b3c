import ChatCore
import Foundation
import LlamaEngine
import Logging
import RabbitQueue
import RedisStore
import ServiceKit
import ServiceLifecycle
import Synchronization
import TraceKit
import TurnProtocol

/// Takes jobs from the node's own queue, gives them to the engine, and sends the tokens to the orchestrators' inboxes:
/// one write for one or some engine steps and each orchestrator.
final class NodeServer: Service {
    /// Writes of one batch, over about ten seconds.
    private static let writeAttempts = 14
    /// An announcement and a look at it.
    private static let timeToBeSeen: Duration = .milliseconds(700)
    /// How long the ends of what was cut off may take to be sent.
    private static let farewell: Duration = .seconds(5)

    let name: String
    let engine: RunningEngine
    let redis: RedisPool
    let table: Mutex<JobTable>
    let isDraining = Atomic(false)
    let logger: Logger
    let announcer: NodeAnnouncer
    /// Nil when nobody traces.
    private let spans: JobSpans?
    private let drain: Duration
    private let consumer: RabbitConsumer
    private let control: Mutex<RedisSubscriber?> = Mutex(nil)
    private let outbox: StepOutbox
    private let metrics: NodeMetrics

    /// - Parameter drain: time that jobs get to end when the node leaves.
    init(
        name: String, model: String, engine: RunningEngine, metrics: NodeMetrics, outbox: StepOutbox,
        redis: RedisPool, redisConfiguration: RedisConfiguration, rabbit: RabbitConfiguration, drain: Duration,
        logger: Logger, tracer: SpanTracer? = nil
    ) {
        self.name = name
        self.engine = engine
        self.metrics = metrics
        self.outbox = outbox
        // Four times as many as run may wait, and while Redis is away ends wait to be sent.
        table = Mutex(JobTable(capacity: engine.maximumSequences * 8))
        self.redis = redis
        self.drain = drain
        spans = tracer.map { JobSpans(tracer: $0, model: model) }
        self.logger = logger
        let queue = QueueDeclaration.node(incarnation: name)
        announcer = NodeAnnouncer(name: name, model: model, queue: queue.name, engine: engine)
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
        // Nothing in here hears of a shutdown: all of it goes on while the node drains.
        let stepSender = StepSender(outbox: outbox, sort: sort, write: send)
        let sender = Task.detached { await stepSender.run() }
        let (ended, ending) = AsyncStream.makeStream(of: Never.self)
        let parts = Task.detached {
            defer { ending.finish() }
            try await self.runParts()
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await gracefulShutdown() }
            group.addTask { for await _ in ended {} }
            await group.next()
            group.cancelAll()
        }
        if Task.isShuttingDownGracefully, !Task.isCancelled { await finishJobs() }
        // What is not done by now is cut off, and goes on elsewhere.
        await engine.engine.shutdown(.atOnce)
        outbox.close()
        let patience = Task {
            try? await Task.sleep(for: NodeServer.farewell); sender.cancel()
        }
        await sender.value
        patience.cancel()
        parts.cancel()
        let result = await parts.result
        let (redis, name) = (redis, name)
        await Task.detached { try? await NodeDirectory(pool: redis).withdraw(name) }.value
        if case .failure(let error) = result, !(error is CancellationError) { throw error }
    }

    private func runParts() async throws {
        guard let control = control.withLock({ $0 }) else { return }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.consumer.run() }
            group.addTask { try await control.run() }
            group.addTask { await self.takeJobs() }
            group.addTask { await self.announce() }
            group.addTask { await self.watchDeadlines() }
            group.addTask { await self.watchOrchestrators() }
            // A part that ends takes the others with it.
            try await group.next()
            group.cancelAll()
        }
    }

    /// The drain: no new jobs, and some time for those in progress.
    private func finishJobs() async {
        isDraining.store(true, ordering: .releasing)
        let start = ContinuousClock.now
        logger.notice("the node drains", metadata: ["jobs": "\(table.withLock { $0.count })"])
        // Until all orchestrators have seen that it drains, jobs may still come and are to be sent away.
        let known = min(drain, NodeServer.timeToBeSeen)
        while start.duration(to: .now) < known || (table.withLock { $0.count } > 0 && start.duration(to: .now) < drain)
        {
            guard (try? await Task.sleep(for: .milliseconds(20))) != nil else { return }
        }
    }

    /// Jobs that the engine has to bring on. What has ended and waits to be sent is no work of the engine.
    var work: Int { max(0, table.withLock { $0.count } - outbox.ends) }

    /// Whether the broker can bring jobs.
    var isConnected: Bool { consumer.isConnected }

    // MARK: Jobs in

    private func takeJobs() async {
        for await delivery in consumer.deliveries {
            do {
                // While the pool is full the job waits, and those behind it: its orchestrator would lose time by sending it anew.
                let patience = Patience(logger: logger) { delivery.isLive }
                submit(try await patience.read(GenerationJob.self, of: delivery))
            } catch  where error is Abandoned || error is CancellationError {
                // Its channel is gone, or this node leaves.
                continue
            } catch {
                logger.error("a message is no job", metadata: ["id": "\(delivery.id ?? "")", "error": "\(error)"])
            }
            // Whatever became of it: the orchestrator's own unacknowledged delivery is what keeps the turn.
            try? await delivery.acknowledge()
        }
    }

    private func submit(_ job: GenerationJob) {
        guard !isDraining.load(ordering: .acquiring) || table.withLock({ $0.holds(job) }) else {
            return reply(to: job, TokenBatch.End(.unavailable, reason: "the node is leaving"))
        }
        switch table.withLock({ $0.admit(job, at: .now) }) {
        case .run(let request, let older):
            if let older { engine.engine.cancel(older) }
            begin(job, as: request)
        case .repeated(let request): outbox.ask(after: request)
        case .full: reply(to: job, TokenBatch.End(.unavailable, reason: "the node has as many jobs as it may have"))
        // Nobody is to wait in vain: after a loss of Redis' clock a holder may have a lower epoch than its forerunner.
        case .superseded: reply(to: job, TokenBatch.End(.unavailable, reason: "a later order is known here"))
        case .stale:
            logger.debug("a stale job was dropped", metadata: ["turn": "\(job.turn)", "epoch": "\(job.epoch)"])
        }
    }

    private func begin(_ job: GenerationJob, as request: UInt64) {
        spans?.begin(job)
        metrics.arrived(request, promptTokens: job.prompt.count, at: .now)
        do throws(EngineError) {
            try engine.engine.submit(GenerationRequest(request: request, job: job))
            // An order that came between the table and the engine found nothing to cancel there.
            if table.withLock({ $0.isCancelled(job) }) { engine.engine.cancel(request) }
        } catch {
            table.withLock { $0.remove(request) }
            metrics.refused(request)
            reply(to: job, TokenBatch.End(error.isFinal ? .refused : .unavailable, reason: error.description))
        }
    }

    private func reply(to job: GenerationJob, _ end: TokenBatch.End) {
        outbox.add(
            PendingTokens.Reply(
                orchestrator: job.orchestrator,
                item: TokenBatch.Item(
                    turn: job.turn, epoch: job.epoch, attempt: job.attempt, first: job.outputSoFar.count, tokens: [],
                    end: end, timeToFirstToken: nil)))
    }

    private func obey(_ payload: [UInt8]) {
        guard let order = try? NodeControl(message: payload) else {
            return logger.warning("a malformed order was dropped")
        }
        if let request = table.withLock({ $0.cancel(order) }) { engine.engine.cancel(request) }
    }

    // MARK: Tokens out

    private func sort(_ pending: PendingTokens) -> (batches: [String: TokenBatch], jobs: Int) {
        let sorted = table.withLock { table in
            (batches: table.batches(of: pending, node: name, at: .now), jobs: table.count)
        }
        if let spans { for batch in sorted.batches.values { spans.note(batch.items) } }
        return sorted
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
}

extension EngineError {
    /// Whether no node could ever run the request.
    fileprivate var isFinal: Bool { if case .invalidRequest = self { true } else { false } }
}
