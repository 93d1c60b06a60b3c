import LlamaEngine
import Metrics
import ServiceKit
import Synchronization

/// The node's metrics. Told of steps and tokens on the engine's thread: a few hundred nanoseconds for each token.
final class NodeMetrics: Sendable {
    private let model: String
    private let times = Mutex(RequestTimes())
    private let promptTokens: Counter
    private let firstToken: Timer
    private let betweenTokens: Timer
    private let requestTime: Timer
    private let queueTime: Timer
    private let prefillTime: Timer
    private let decodeTime: Timer
    private let step: Timer
    private let stepTokens: Recorder
    private let stopped: Counter
    private let lengthReached: Counter
    private let aborted: Counter
    private let failed: Counter

    init(model: String) {
        self.model = model
        promptTokens = Measures.nodePromptTokens(model)
        firstToken = Measures.nodeFirstToken(model)
        betweenTokens = Measures.nodeBetweenTokens(model)
        requestTime = Measures.nodeRequestTime(model)
        queueTime = Measures.nodeQueueTime(model)
        prefillTime = Measures.nodePrefillTime(model)
        decodeTime = Measures.nodeDecodeTime(model)
        step = Measures.engineStep(model)
        stepTokens = Measures.engineStepTokens(model)
        stopped = Measures.nodeRequestsEnded(model, "stop")
        lengthReached = Measures.nodeRequestsEnded(model, "length")
        aborted = Measures.nodeRequestsEnded(model, "abort")
        failed = Measures.nodeRequestsEnded(model, "error")
    }

    /// What the engine counts itself is asked for when the metrics are read.
    func observe(_ engine: any InferenceEngine, in registry: MetricRegistry = .process) {
        registry.observe(Measures.nodeRunning, model) { Double(engine.statistics.running) }
        registry.observe(Measures.nodeWaiting, model) { Double(engine.statistics.waiting) }
        registry.observe(Measures.nodeCacheUsage, model) {
            let statistics = engine.statistics
            guard statistics.totalBlocks > 0 else { return 0 }
            return 1 - Double(statistics.freeBlocks) / Double(statistics.totalBlocks)
        }
        registry.observe(Measures.nodePrefixQueries, model) { Double(engine.statistics.prefixTokensQueried) }
        registry.observe(Measures.nodePrefixHits, model) { Double(engine.statistics.prefixTokensHit) }
        registry.observe(Measures.nodePreemptions, model) { Double(engine.statistics.preemptions) }
        registry.observe(Measures.nodeGenerationTokens, model) { Double(engine.statistics.tokensGenerated) }
    }

    // MARK: News

    func arrived(_ request: UInt64, promptTokens: Int, at now: ContinuousClock.Instant) {
        times.withLock { $0.arrive(request, promptTokens: promptTokens, at: now) }
    }

    /// The engine did not take it.
    func refused(_ request: UInt64) { times.withLock { $0.forget(request) } }

    func take(_ report: StepReport, at now: ContinuousClock.Instant) {
        if report.rows > 0 {
            step.recordSeconds(report.seconds)
            stepTokens.record(report.rows)
        }
        // The step is over: its requests began when it did.
        let begun = now - .seconds(report.seconds)
        for request in report.begun {
            if let observation = times.withLock({ $0.begin(request, at: begun) }) { record(observation) }
        }
    }

    func take(_ events: [TokenEvent], at now: ContinuousClock.Instant) {
        times.withLock { $0.take(events, at: now, record) }
    }

    private func record(_ observation: RequestTimes.Observation) {
        switch observation {
        case .queued(let time, let tokens):
            queueTime.record(duration: time)
            promptTokens.increment(by: tokens)
        case .firstToken(let time, let prefill):
            firstToken.record(duration: time)
            prefillTime.record(duration: prefill)
        case .betweenTokens(let time, let count):
            for _ in 0..<count { betweenTokens.record(duration: time) }
        case .ended(let reason, let time, let decode):
            requestTime.record(duration: time)
            if let decode { decodeTime.record(duration: decode) }
            counter(of: reason).increment()
        }
    }

    private func counter(of reason: FinishReason) -> Counter {
        switch reason {
        case .stop: stopped
        case .length: lengthReached
        case .cancelled, .interrupted: aborted
        case .failed, .diverged: failed
        }
    }
}
