/// How an ``Engine`` works; what the forward pass can do bounds it further.
public struct EngineConfiguration: Sendable {
    public var scheduler = SchedulerConfiguration()
    public var speculation = SpeculationConfiguration()
    /// Bytes of the second tier, a file in `swapDirectory` in which preempted sequences leave their KV blocks; 0 is none.
    public var swapBytes = 0
    /// nil is the system's directory for temporary files.
    public var swapDirectory: String?
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
