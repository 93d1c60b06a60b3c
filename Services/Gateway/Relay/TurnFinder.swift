import ChatCore
import RedisStore

/// Where a turn is to be found: in its log, in its shard, or for the moment nowhere, because Redis has lost it and its
/// holder has not written it again.
struct TurnFinder: Sendable {
    enum Whereabouts: Sendable {
        case logged(TurnLog.Record)
        case settled(TurnOutcome)
        /// Redis may have forgotten it: it goes on, or its outcome is on its way to the shard.
        case awaited
    }

    /// Clocks of gateways differ by this much at most from the one that ids are made on.
    private static let slack: Int64 = 2000

    let log: TurnLog
    let settled: SettledTurns
    let lookups = ShardLookups()
    let generation: GenerationMark
    let clock: RedisClock
    /// How long after its acceptance a turn is in Redis in any case: the longest deadline and the retention.
    let horizon: Duration

    /// - Throws: `APIError.unknownTurn` when there is none, and when it is another tenant's, whose existence is nobody
    ///   else's business; `.unavailable` when that cannot be known.
    func find(_ id: TurnID, of tenant: String) async throws(APIError) -> Whereabouts {
        if let record = try await record(of: id, tenant: tenant) { return .logged(record) }
        do throws(APIError) {
            return .settled(
                try await lookups.run(of: tenant) { () async throws(APIError) in
                    try await settled.find(id, of: tenant)
                })
        } catch {
            // A young turn is waited for also while the shards cannot say whether they have it.
            guard try await mayBeForgotten(id) else { throw error }
            return .awaited
        }
    }

    /// The turn's record, if its log is in Redis.
    /// - Throws: `APIError.unknownTurn` when it is another tenant's.
    func record(of id: TurnID, tenant: String) async throws(APIError) -> TurnLog.Record? {
        let record: TurnLog.Record?
        do throws(RedisError) { record = try await log.record(of: id) } catch { throw .redis(error) }
        if let record, !record.owner.belongs(to: tenant) { throw .unknownTurn }
        return record
    }

    private func mayBeForgotten(_ id: TurnID) async throws(APIError) -> Bool {
        do throws(RedisError) {
            return TurnFinder.mayBeForgotten(
                id, now: try await clock.now(), keptSince: try await generation.keptSince(), horizon: horizon)
        } catch {
            throw .redis(error)
        }
    }

    /// Whether a turn with this id may have been accepted before Redis lost its memory, and may still be of interest.
    /// - Parameters:
    ///   - now: Unix time in milliseconds, as `keptSince`.
    static func mayBeForgotten(_ id: TurnID, now: Int64, keptSince: Int64, horizon: Duration) -> Bool {
        let made = Int64(clamping: id.milliseconds)
        return made <= keptSince + slack && made <= now + slack && made + horizon.wholeMilliseconds > now
    }
}

extension Duration {
    fileprivate var wholeMilliseconds: Int64 { Int64(self / .milliseconds(1)) }
}
