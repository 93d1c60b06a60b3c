import LlamaEngine

/// How often a node sends tokens. Each write wakes everybody between here and the client, and they run on the cores that the
/// engine computes on: the more turns share a step, the more it costs to send every step for itself.
enum SendPace {
    /// 25 times a second text flows; nobody reads faster.
    static let longestPause: Duration = .milliseconds(40)
    /// One turn alone hardly waits: its tokens cost nobody anything.
    static let pauseForEachJob: Duration = .microseconds(1250)

    /// How long tokens may wait after a write, for those of later steps.
    static func pause(jobs: Int) -> Duration {
        jobs > 1 ? min(longestPause, pauseForEachJob * min(jobs, 1024)) : .zero
    }

    /// First tokens and ends do not wait, and take along what does.
    static func isUrgent(_ events: [TokenEvent]) -> Bool {
        events.contains { $0.index == 0 || $0.finish != nil }
    }
}
