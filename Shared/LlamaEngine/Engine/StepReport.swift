/// What a step of an engine was, for whoever measures it.
public struct StepReport: Sendable, Equatable {
    /// Requests that were computed for the first time.
    public var begun: [UInt64]
    /// Rows that were computed: tokens of prompts, one for each decode, drafts. 0 of a simulated step.
    public var rows: Int
    /// Seconds of the step, sampling included. 0 of a simulated step.
    public var seconds: Double

    public init(begun: [UInt64], rows: Int = 0, seconds: Double = 0) {
        self.begun = begun
        self.rows = rows
        self.seconds = seconds
    }
}
