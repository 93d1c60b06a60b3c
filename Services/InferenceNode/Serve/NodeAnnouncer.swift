import Foundation
import RedisStore
import Synchronization

/// Makes the node's announcements: each is another one, also when nothing has changed.
final class NodeAnnouncer: Sendable {
    private struct State {
        var beat: Int64 = 0
        var watch = StepWatch()
    }

    private let name: String
    private let model: String
    private let queue: String
    private let engine: RunningEngine
    private let startedAt = Int64(Date().timeIntervalSince1970 * 1000)
    private let state = Mutex(State())

    init(name: String, model: String, queue: String, engine: RunningEngine) {
        self.name = name
        self.model = model
        self.queue = queue
        self.engine = engine
    }

    /// Whether the engine stands still for so long that only a new process helps.
    /// - Parameter jobs: jobs at this node that the engine has to bring on.
    func isHanging(jobs: Int, tokenDeadline: Duration) -> Bool {
        let statistics = engine.engine.statistics
        let age = state.withLock { $0.watch.age(steps: statistics.steps, hasWork: jobs > 0, at: .now) }
        let step = engine.stepSeconds ?? statistics.stepSeconds
        return age.map { $0 > StepWatch.patience(stepSeconds: step, tokenDeadline: tokenDeadline) } ?? false
    }

    /// - Parameter jobs: jobs at this node that the engine has to bring on.
    func next(jobs: Int, isDraining: Bool) -> NodeAnnouncement {
        let statistics = engine.engine.statistics
        let (beat, age) = state.withLock { state in
            state.beat += 1
            return (state.beat, state.watch.age(steps: statistics.steps, hasWork: jobs > 0, at: .now))
        }
        var announcement = NodeAnnouncement(
            id: name, model: model, numericsID: engine.numericsID, queue: queue,
            contextLength: engine.contextLength, maximumSequences: engine.maximumSequences,
            running: statistics.running, waiting: statistics.waiting, freeBlocks: statistics.freeBlocks,
            totalBlocks: statistics.totalBlocks, tokensPerSecond: statistics.decodeTokensPerSecond,
            startedAt: startedAt)
        announcement.beat = beat
        announcement.stepAge = age.map { Int64($0 / .milliseconds(1)) }
        announcement.stepSeconds = engine.stepSeconds ?? statistics.stepSeconds
        announcement.isDraining = isDraining
        return announcement
    }
}
