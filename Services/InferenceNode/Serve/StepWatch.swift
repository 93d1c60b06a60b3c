/// Notices an engine that has work and makes no step. Pure: it is told the engine's count of steps from time to time.
struct StepWatch {
    private var steps: UInt64 = 0
    private var since: ContinuousClock.Instant?

    /// How long the engine has had work without a step; nil while it has none.
    mutating func age(steps: UInt64, hasWork: Bool, at now: ContinuousClock.Instant) -> Duration? {
        guard hasWork else {
            since = nil
            return nil
        }
        if since == nil || steps != self.steps { since = now }
        self.steps = steps
        return since.map { $0.duration(to: now) }
    }
}
