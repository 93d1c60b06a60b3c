/// The limits within which a turn's holder decides.
struct HolderRules: Equatable, Sendable {
    /// The name of the orchestrator, as leases carry it.
    let name: String
    /// Attempts in a row that began and brought no token, after which the turn counts as one that kills its nodes.
    var fruitlessAttempts = 5
    /// Failed generations after which the turn is tried again.
    var retries = 3
    /// The longest rung of the retry ladder that is used, in seconds.
    var longestRetry = 16
    /// How long a turn without a reader goes on, in milliseconds; asynchronous turns do not mind.
    var detachGrace: Int64 = 30_000
    /// How long a node that has begun may say nothing before its job is ordered anew. An item can be lost between node
    /// and orchestrator, and a lost last one leaves no gap to see.
    var silence: Int64 = 20_000
    /// Looks in a row, `duplicatePause` apart, that find a lease's owner dead before a duplicate takes the turn from it.
    var looksAtTheDead = 6
    /// The same for looks that find no record: its living holder is given the time to write it again.
    var looksForRecord = 6
    /// Retries, about half a minute together, for which a predecessor of which nothing is known is waited for.
    var retriesForPredecessor = 5
    /// Milliseconds between two looks of a duplicate.
    var duplicatePause = 500
    /// Milliseconds before a delivery is given back because of something unforeseen. With the broker's 50 returns, some
    /// minutes together.
    var pauseBeforeReturn = 1000...5000
    /// Whether a second node may be asked for the same turn.
    var hedges = false

    /// The rungs' delays in seconds that may be used for the n-th retry (from 0): 2^n, or half of that, but never beyond
    /// the time that is left. Empty when no rung is short enough.
    ///
    /// Jitter among two rungs, so that turns that failed together do not all come back together.
    func delays(retry: Int, ladder: [Int], left milliseconds: Int64) -> [Int] {
        let wanted = min(1 << min(max(retry, 0), 20), longestRetry)
        let fitting = ladder.filter { $0 <= wanted && Int64($0) * 1000 + HolderRules.margin < milliseconds }
        return Array(fitting.suffix(2))
    }

    /// Milliseconds between two looks for history when no rung is short enough any more.
    static let lastPauses = 500

    /// Milliseconds that a turn from a rung should still have.
    private static let margin: Int64 = 1000
}
