import Foundation
import LlamaEngine
import Synchronization

/// The simulated engine behind as many places as the node announces: what comes beyond them waits, as at the real one.
final class SimulatedNode: InferenceEngine {
    private struct State {
        var running: Set<UInt64> = []
        var waiting: [GenerationRequest] = []
        /// When the engine is to hang, from its first request on.
        var hangsAt: ContinuousClock.Instant?

        mutating func popMostUrgent() -> GenerationRequest? {
            // Of equals the first.
            let next = waiting.indices.max { (waiting[$0].priority, -$0) < (waiting[$1].priority, -$1) }
            return next.map { waiting.remove(at: $0) }
        }
    }

    private let engine: SimulatedEngine
    private let places: Int
    private let hangsAfter: Duration?
    private let state: Shared
    private let onStep: @Sendable ([TokenEvent]) -> Void

    /// The engine's thread, which knows the state before this object exists, calls back into both.
    private final class Shared: Sendable {
        let state = Mutex(State())
        let engine = Mutex<SimulatedEngine?>(nil)
    }

    /// - Parameters:
    ///   - places: requests in progress at once; four times as many may wait.
    ///   - hangsAfter: time after the first request from which on the engine's thread stands still, for drills.
    init(
        configuration: SimulatedEngine.Configuration, places: Int, hangsAfter: Duration? = nil,
        onStep: @escaping @Sendable ([TokenEvent]) -> Void, report: (@Sendable (StepReport) -> Void)? = nil
    ) throws(EngineError) {
        let shared = Shared()
        var configuration = configuration
        configuration.maxRequests = places
        engine = try SimulatedEngine(
            configuration: configuration, onStep: { SimulatedNode.pass($0, shared, onStep) }, report: report)
        shared.engine.withLock { [engine] in $0 = engine }
        state = shared
        self.places = places
        self.hangsAfter = hangsAfter
        self.onStep = onStep
    }

    func submit(_ request: GenerationRequest) throws(EngineError) {
        let (mayRun, queued) = state.state.withLock { state -> (Bool, Int) in
            if state.hangsAt == nil, let hangsAfter { state.hangsAt = .now + hangsAfter }
            guard state.running.count >= places else {
                state.running.insert(request.id)
                return (true, 0)
            }
            guard state.waiting.count < 4 * places else { return (false, state.waiting.count) }
            state.waiting.append(request)
            return (false, 0)
        }
        guard queued == 0 else { throw .overloaded("\(queued) requests wait") }
        guard mayRun else { return }
        do { try engine.submit(request) } catch {
            _ = state.state.withLock { $0.running.remove(request.id) }
            throw error
        }
    }

    func cancel(_ id: UInt64) {
        let waiting = state.state.withLock { state in
            state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0) }
        }
        guard let waiting else { return engine.cancel(id) }
        onStep([waiting.ending(.cancelled)])
    }

    var statistics: EngineStatistics {
        var statistics = engine.statistics
        statistics.waiting = state.state.withLock { $0.waiting.count }
        return statistics
    }

    func shutdown(_ mode: ShutdownMode) async {
        let waiting = state.state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        onStep(waiting.map { $0.ending(.interrupted) })
        await engine.shutdown(mode)
        state.engine.withLock { $0 = nil }
    }

    private static func pass(
        _ events: [TokenEvent], _ shared: Shared, _ onStep: @Sendable ([TokenEvent]) -> Void
    ) {
        let ended = events.filter { $0.finish != nil }.map(\.request)
        let (next, hangs) = shared.state.withLock { state -> ([GenerationRequest], Bool) in
            state.running.subtract(ended)
            var next: [GenerationRequest] = []
            while next.count < ended.count, let request = state.popMostUrgent() {
                state.running.insert(request.id)
                next.append(request)
            }
            return (next, state.hangsAt.map { $0 <= .now } ?? false)
        }
        while hangs { Thread.sleep(forTimeInterval: 60) }
        onStep(events)
        for request in next {
            do throws(EngineError) { try shared.engine.withLock({ $0 })?.submit(request) } catch {
                _ = shared.state.withLock { $0.running.remove(request.id) }
                onStep([request.ending(.failed, reason: error.description)])
            }
        }
    }
}

extension GenerationRequest {
    /// The only event of a request that never ran.
    fileprivate func ending(_ finish: FinishReason, reason: String? = nil) -> TokenEvent {
        TokenEvent(request: id, index: outputSoFar.count, token: TokenEvent.none, finish: finish, reason: reason)
    }
}
