import Foundation
import Logging
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

    private let components: [Component]
    private let interval: Duration
    private let patience: Duration
    private let logger: Logger
    private let states = Mutex<[String: State]>([:])

    /// - Parameter patience: time within which a component must answer.
    public init(
        components: [Component], interval: Duration = .milliseconds(500), patience: Duration = .seconds(2),
        logger: Logger
    ) {
        self.components = components
        self.interval = interval
        self.patience = patience
        self.logger = logger
    }

    /// The last seen state of each component; down before the first answer.
    public var snapshot: [(name: String, state: State)] {
        states.withLock { states in components.map { ($0.name, states[$0.name] ?? .down) } }
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                for component in self.components { group.addTask { await self.watch(component) } }
            }
        }
    }

    private func watch(_ component: Component) async {
        while !Task.isCancelled {
            let state: State = await answers(component) ? .up : .down
            let before = states.withLock { $0.updateValue(state, forKey: component.name) }
            if before != state {
                logger.log(
                    level: state == .up ? .info : .warning, "a component changed its state",
                    metadata: ["component": "\(component.name)", "state": "\(state)"])
            }
            try? await Task.sleep(for: interval)
        }
    }

    private func answers(_ component: Component) async -> Bool {
        await withTaskGroup(of: Bool.self) { group in
            group.addTask { (try? await component.probe()) ?? false }
            group.addTask { [patience] in
                try? await Task.sleep(for: patience)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }
}
