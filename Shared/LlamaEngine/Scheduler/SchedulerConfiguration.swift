/// The bounds and preferences of the scheduler. Durations are in seconds.
public struct SchedulerConfiguration: Sendable, Equatable {
    /// Sequences that hold KV blocks at once; at most the rows of a step, since each may bring one.
    public var maxRunning = 64
    /// Requests that wait for admission; a preempted sequence returns to the queue beyond this bound.
    public var maxWaiting = 256
    /// Rows of one step, decodes and prefill together.
    public var maxStepRows = 512
    /// What a step should take: the prefill of a step is cut so that decodes wait no longer than this for their next token.
    public var stepSeconds = 0.05
    /// Prefill rows that a step may always bring beside its decodes, so that prompts go on however slow the steps are.
    public var minimumPrefillRows = 16
    /// What a step of prompts alone may take. No decode waits for it, and each step reads all weights; but who comes meanwhile
    /// waits for its end, and an engine that makes no step for 1.5 s is taken for one that hangs.
    public var aloneSeconds = 0.75
    /// Seconds of one prefill row until one is measured.
    public var expectedRowSeconds = 0.0005
    /// How much later a request of this class counts as arrived. A request of a lower class that has waited the difference
    /// goes before new ones of a higher class: that is its ageing.
    public var patience = Patience()
    /// How much later a sequence counts as arrived for each token it still has to compute: short prefills go first, a long
    /// one goes before those that arrived later by this much for each token.
    public var secondsPerPrefillToken = 0.0005

    public struct Patience: Sendable, Equatable {
        public var stream = 0.0
        public var chat = 5.0
        public var batch = 60.0

        public init(stream: Double = 0, chat: Double = 5, batch: Double = 60) {
            self.stream = stream
            self.chat = chat
            self.batch = batch
        }

        func seconds(for priority: RequestPriority) -> Double {
            switch priority {
            case .stream: stream
            case .chat: chat
            case .batch: batch
            }
        }
    }

    public init() {}

    /// The same with every bound made possible: counts of at least 1, no more running sequences than rows.
    func bounded(maxRows: Int) -> SchedulerConfiguration {
        var result = self
        result.maxStepRows = max(1, min(maxStepRows, maxRows))
        result.maxRunning = max(1, min(maxRunning, result.maxStepRows))
        result.maxWaiting = max(0, maxWaiting)
        result.minimumPrefillRows = max(1, min(minimumPrefillRows, result.maxStepRows))
        return result
    }
}
