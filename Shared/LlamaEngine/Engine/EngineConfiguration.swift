/// How an ``Engine`` works; what the forward pass can do bounds it further.
public struct EngineConfiguration: Sendable {
    public var scheduler = SchedulerConfiguration()
    /// The name of the engine's thread, for debuggers.
    public var threadName = "engine"

    public init(scheduler: SchedulerConfiguration = SchedulerConfiguration(), threadName: String = "engine") {
        self.scheduler = scheduler
        self.threadName = threadName
    }
}
