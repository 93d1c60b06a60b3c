/// How an ``Engine`` works; what the forward pass can do bounds it further.
public struct EngineConfiguration: Sendable {
    public var scheduler = SchedulerConfiguration()
    public var speculation = SpeculationConfiguration()
    /// The name of the engine's thread, for debuggers.
    public var threadName = "engine"

    public init(
        scheduler: SchedulerConfiguration = SchedulerConfiguration(),
        speculation: SpeculationConfiguration = SpeculationConfiguration(), threadName: String = "engine"
    ) {
        self.scheduler = scheduler
        self.speculation = speculation
        self.threadName = threadName
    }
}
