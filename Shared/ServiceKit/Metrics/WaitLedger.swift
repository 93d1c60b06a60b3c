import Synchronization

/// What one piece of work has waited for, so that what it cost by itself can be told apart.
///
/// Bound to a task and its children (`WaitLedger.$current.withValue`), it is filled by the stores as they wait. Waits that
/// overlap count once in `all`.
public final class WaitLedger: Sendable {
    public enum Dependency: Int, Sendable, CaseIterable { case redis, database, broker }

    /// Time spent in waits that are over.
    public struct Waits: Sendable, Equatable {
        public var redis: Duration
        public var database: Duration
        public var broker: Duration
        /// Time in which anything was waited for.
        public var all: Duration

        public init(
            redis: Duration = .zero, database: Duration = .zero, broker: Duration = .zero, all: Duration = .zero
        ) {
            self.redis = redis
            self.database = database
            self.broker = broker
            self.all = all
        }
    }

    /// One or more overlapping waits.
    private struct Stretch {
        var depth = 0
        var began = ContinuousClock.now
        var sum = Duration.zero

        mutating func begin(at now: ContinuousClock.Instant) {
            if depth == 0 { began = now }
            depth += 1
        }

        mutating func end(at now: ContinuousClock.Instant) {
            depth -= 1
            if depth == 0 { sum += now - began }
        }
    }

    private struct State {
        var each = Array(repeating: Stretch(), count: Dependency.allCases.count)
        var all = Stretch()
    }

    @TaskLocal public static var current: WaitLedger?

    private let state = Mutex(State())

    public init() {}

    /// Each call has its `end`.
    public func begin(_ dependency: Dependency, at now: ContinuousClock.Instant = .now) {
        state.withLock { state in
            state.each[dependency.rawValue].begin(at: now)
            state.all.begin(at: now)
        }
    }

    public func end(_ dependency: Dependency, at now: ContinuousClock.Instant = .now) {
        state.withLock { state in
            state.each[dependency.rawValue].end(at: now)
            state.all.end(at: now)
        }
    }

    public var waits: Waits {
        state.withLock { state in
            Waits(
                redis: state.each[Dependency.redis.rawValue].sum,
                database: state.each[Dependency.database.rawValue].sum,
                broker: state.each[Dependency.broker.rawValue].sum, all: state.all.sum)
        }
    }
}
