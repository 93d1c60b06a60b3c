import ServiceLifecycle
import Synchronization

/// What liveness and readiness of a service hang on.
public struct Probes: Sendable {
    /// Says why not, or nil when all is well. Answers at once and from what is known: probes come often.
    public typealias Check = @Sendable () -> String?

    /// Whether the process does its work at all; one that does not is to be started again.
    public var liveness: [Check]
    /// Whether it can take work now.
    public var readiness: [Check]
    /// What is said beside readiness, and does not fail it: a part of the work cannot be done now.
    public var notices: [Check]

    public init(liveness: [Check] = [], readiness: [Check], notices: [Check] = []) {
        (self.liveness, self.readiness, self.notices) = (liveness, readiness, notices)
    }

    /// Fails while the dependency's circuit breaker is not closed.
    public static func closed(_ breaker: DependencyBreaker) -> Check {
        { breaker.state == .closed ? nil : "\(breaker.name) is away: \(breaker.lastFailure)" }
    }

    /// Fails when all breakers are open: one shard that is away is no reason to send work for the others elsewhere.
    public static func anyClosed(_ breakers: [DependencyBreaker]) -> Check {
        let checks = breakers.map(closed)
        return {
            let reasons = checks.compactMap { $0() }
            return reasons.count == checks.count ? reasons.joined(separator: "; ") : nil
        }
    }

    public static func holds(_ what: String, _ condition: @escaping @Sendable () -> Bool) -> Check {
        { condition() ? nil : what }
    }
}

/// Knows whether the process has been asked to stop: as the last in a list of services it is the first to hear of it.
public final class DrainNotice: Service {
    private let drains = Atomic(false)

    public init() {}

    public var isDraining: Bool { drains.load(ordering: .acquiring) }

    public func run() async throws {
        try? await gracefulShutdown()
        drains.store(true, ordering: .releasing)
    }

    /// Fails from the drain's beginning on.
    public var check: Probes.Check {
        { [self] in isDraining ? "the process drains" : nil }
    }
}
