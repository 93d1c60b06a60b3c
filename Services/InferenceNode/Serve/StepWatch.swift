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

    /// How long an engine with work may stand still before its process is to be started again: orchestrators, who wait for
    /// steps of the engine's own length, have taken its turns elsewhere long before.
    /// - Parameter stepSeconds: of a usual step; nil before the first is measured.
    static func patience(stepSeconds: Double?, tokenDeadline: Duration) -> Duration {
        guard let stepSeconds, stepSeconds.isFinite, stepSeconds >= 0 else { return firstStep }
        return max(tokenDeadline * deadlines, .seconds(min(stepSeconds, longestStep) * stepsOfGrace))
    }

    private static let deadlines = 4
    private static let stepsOfGrace = 16.0
    /// Seconds; what is said to take longer is a mistake of measuring.
    private static let longestStep = 3600.0
    private static let firstStep: Duration = .seconds(40)
}
