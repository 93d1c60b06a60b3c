import Foundation
import Logging
import Metrics
import ServiceLifecycle
import Synchronization

/// Asks each component again and again in the background, so that a health request is answered at once and from what
/// was really seen, and so that a hundred probes a second cost a dependency nothing.
public final class HealthMonitor: Service {
    public enum State: String, Sendable, Codable {
        case up, down
        /// Whoever could tell cannot be asked.
        case unknown
    }

    /// Thrown by a component's probe that cannot find out: what it would ask is itself a component, and says what is wrong.
    public struct Unknown: Error {
        public init() {}
    }

    public struct Component: Sendable {
        public let name: String
        /// True when the component answered; it may throw or take its time, which both mean down, or throw `Unknown`.
        let probe: @Sendable () async throws -> Bool

        public init(_ name: String, probe: @escaping @Sendable () async throws -> Bool) {
            self.name = name
            self.probe = probe
        }
    }

    /// Processes of a kind, which are counted and not judged: one that is missing is another's to replace.
    public struct Population: Sendable {
        public let name: String
        let count: @Sendable () async throws -> Int

        public init(_ name: String, count: @escaping @Sendable () async throws -> Int) {
            self.name = name
            self.count = count
        }
    }

    private let components: [Component]
    private let populations: [Population]
    private let interval: Duration
    private let patience: Duration
    private let logger: Logger
    private let states = Mutex<[String: State]>([:])
    private let counts = Mutex<[String: Int]>([:])

    /// - Parameter patience: time within which a component must answer.
    public init(
        components: [Component], populations: [Population] = [], interval: Duration = .milliseconds(500),
        patience: Duration = .seconds(2),
        logger: Logger
    ) {
        self.components = components
        self.populations = populations
        self.interval = interval
        self.patience = patience
        self.logger = logger
    }

    /// The last seen state of each component; down before the first answer.
    public var snapshot: [(name: String, state: State)] {
        states.withLock { states in components.map { ($0.name, states[$0.name] ?? .down) } }
    }

    /// How many of each population were seen last; nil while that is not known.
    public var alive: [(name: String, count: Int?)] {
        counts.withLock { counts in populations.map { ($0.name, counts[$0.name]) } }
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                for component in self.components { group.addTask { await self.watch(component) } }
                for population in self.populations { group.addTask { await self.watch(population) } }
            }
        }
    }

    private func watch(_ component: Component) async {
        let up = Measures.componentUp(component.name)
        while !Task.isCancelled {
            let asked = Question { () async throws -> State in
                do { return try await component.probe() ? .up : .down } catch is Unknown { return .unknown }
            }
            let state = await asked.answer(within: patience) ?? .down
            let before = states.withLock { $0.updateValue(state, forKey: component.name) }
            // Of what is not known the last that was known stays: the alarm is that of whoever hides it.
            if state != .unknown { up.record(state == .up ? 1 : 0) }
            if before != state {
                logger.log(
                    level: state == .up ? .info : .warning, "a component changed its state",
                    metadata: ["component": "\(component.name)", "state": "\(state)"])
            }
            await rest(after: asked)
        }
    }

    private func watch(_ population: Population) async {
        let alive = Measures.alive(population.name)
        while !Task.isCancelled {
            let asked = Question(population.count)
            let count = await asked.answer(within: patience)
            counts.withLock { $0[population.name] = count }
            if let count { alive.record(count) }
            await rest(after: asked)
        }
    }

    /// One that hangs is not asked a second time beside the first.
    private func rest(after question: Question<some Sendable>) async {
        repeat { try? await Task.sleep(for: interval) } while !question.isOver && !Task.isCancelled
    }
}

/// One question to a component, whose asker may go on before it is answered: what asks a server that hangs often cannot be
/// cancelled.
private final class Question<Value: Sendable>: Sendable {
    private struct State {
        var isOver = false
        var isAnswered = false
        var answer: Value?
        var asker: CheckedContinuation<Value?, Never>?
    }

    private let state = Mutex(State())
    private let task: Mutex<Task<Void, Never>?> = Mutex(nil)

    init(_ question: @escaping @Sendable () async throws -> Value) {
        let task = Task {
            settle(try? await question())
            state.withLock { $0.isOver = true }
        }
        self.task.withLock { $0 = task }
    }

    /// Whether nobody works on the answer any more.
    var isOver: Bool { state.withLock { $0.isOver } }

    /// The answer; nil when it fails, comes later, or the asker is cancelled.
    func answer(within patience: Duration) async -> Value? {
        let timer = Task {
            try? await Task.sleep(for: patience)
            giveUp()
        }
        defer { timer.cancel() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { asker in
                let known: Value?? = state.withLock { state in
                    guard !state.isAnswered else { return .some(state.answer) }
                    state.asker = asker
                    return nil
                }
                if let known { asker.resume(returning: known) }
            }
        } onCancel: {
            giveUp()
        }
    }

    private func giveUp() {
        task.withLock { $0 }?.cancel()
        settle(nil)
    }

    /// The first answer stays.
    private func settle(_ answer: Value?) {
        let asker = state.withLock { state -> CheckedContinuation<Value?, Never>? in
            guard !state.isAnswered else { return nil }
            (state.isAnswered, state.answer) = (true, answer)
            return state.asker.take()
        }
        asker?.resume(returning: answer)
    }
}
