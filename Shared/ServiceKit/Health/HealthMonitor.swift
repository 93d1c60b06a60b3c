import Foundation
import Logging
import Metrics
import ServiceLifecycle
import Synchronization

/// Asks each component again and again in the background, so that a health request is answered at once and from what
/// was really seen, and so that a hundred probes a second cost a dependency nothing.
public final class HealthMonitor: Service {
    public enum State: String, Sendable, Codable { case up, down }

    public struct Component: Sendable {
        public let name: String
        /// True when the component answered; it may throw or take its time, which both mean down.
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
            let state: State = await answer(of: component.probe) == true ? .up : .down
            let before = states.withLock { $0.updateValue(state, forKey: component.name) }
            up.record(state == .up ? 1 : 0)
            if before != state {
                logger.log(
                    level: state == .up ? .info : .warning, "a component changed its state",
                    metadata: ["component": "\(component.name)", "state": "\(state)"])
            }
            try? await Task.sleep(for: interval)
        }
    }

    private func watch(_ population: Population) async {
        let alive = Measures.alive(population.name)
        while !Task.isCancelled {
            let count = await answer(of: population.count)
            counts.withLock { $0[population.name] = count }
            if let count { alive.record(count) }
            try? await Task.sleep(for: interval)
        }
    }

    /// What the question brings within the time that it has; nil when it fails or takes longer.
    private func answer<Value: Sendable>(of question: @escaping @Sendable () async throws -> Value) async -> Value? {
        await withTaskGroup(of: Value?.self) { group in
            group.addTask { try? await question() }
            group.addTask { [patience] in
                try? await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }
}
