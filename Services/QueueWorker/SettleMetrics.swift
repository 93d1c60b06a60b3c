import ChatCore
import Metrics
import RedisStore
import ServiceKit
import Synchronization

/// The metrics of one shard's settling.
final class SettleMetrics: Sendable {
    let shard: String
    private let clock: RedisClock
    private let turns: Counter
    private let time: Timer
    private let lag: Timer
    private let newest = Mutex<Int64?>(nil)

    init(shard: String, clock: RedisClock) {
        self.shard = shard
        self.clock = clock
        turns = Measures.settledTurns(shard)
        time = Measures.settleTime(shard)
        lag = Measures.settleLag(shard)
    }

    /// When the newest outcome that came out of the queue ended, in Unix milliseconds of the Redis clock; nil before the
    /// first. The queue keeps its order, so what lies in it is about as young or younger.
    var newestDelivered: Int64? { newest.withLock { $0 } }

    func delivered(_ outcome: TurnOutcome) {
        newest.withLock { $0 = max($0 ?? 0, outcome.endedAt) }
    }

    func settled(_ stored: Set<TurnID>, of outcomes: [TurnOutcome], in duration: Duration) async {
        time.record(duration: duration)
        turns.increment(by: stored.count)
        guard let now = try? await clock.now() else { return }
        for outcome in outcomes where stored.contains(outcome.turn) {
            lag.recordMilliseconds(now.milliseconds(since: outcome.endedAt))
        }
    }
}
