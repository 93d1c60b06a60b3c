import Synchronization

/// The time that deadlines run on: Redis TIME, as one clock for all services. A measurement whose round trip was long does
/// not take the place of a better one.
public final class RedisClock: Sendable {
    private struct State {
        var estimate: ClockEstimate?
        /// When the server was asked last.
        var asked: ContinuousClock.Instant?
        var isMeasuring = false
    }

    private let pool: RedisPool
    private let refresh: Duration
    private let state = Mutex(State())

    /// - Parameter refresh: how long a measured difference to the local monotonic clock is used without asking again.
    public init(pool: RedisPool, refresh: Duration = .seconds(5)) {
        self.pool = pool
        self.refresh = refresh
    }

    /// Unix time in milliseconds. Without a round trip while the last measurement is fresh; with the old one while
    /// Redis is away or another caller is measuring.
    /// - Throws: only while Redis was never reached.
    public func now() async throws(RedisError) -> Int64 {
        let (known, mustMeasure) = state.withLock { state -> (ClockEstimate?, Bool) in
            guard let estimate = state.estimate, let asked = state.asked else { return (nil, true) }
            if asked.duration(to: .now) < refresh || state.isMeasuring { return (estimate, false) }
            state.isMeasuring = true
            return (estimate, true)
        }
        if let known, !mustMeasure { return RedisClock.milliseconds(known) }
        do {
            let measured = try await measure()
            let best = state.withLock { state in
                let best = state.estimate?.orNewer(measured) ?? measured
                (state.estimate, state.asked, state.isMeasuring) = (best, .now, false)
                return best
            }
            return RedisClock.milliseconds(best)
        } catch {
            state.withLock { $0.isMeasuring = false }
            guard let known else { throw error }
            return RedisClock.milliseconds(known)
        }
    }

    private func measure() async throws(RedisError) -> ClockEstimate {
        let before = ContinuousClock.now
        let reply = try await pool.send("TIME")
        guard let parts = reply.array, parts.count == 2, let seconds = parts[0].int, let micros = parts[1].int,
            (0..<1 << 40).contains(seconds), (0..<1_000_000).contains(micros)
        else { throw .unexpectedReply("TIME gave \(reply.summary)") }
        return ClockEstimate(time: seconds * 1_000_000 + micros, sent: before, received: .now)
    }

    private static func milliseconds(_ estimate: ClockEstimate) -> Int64 { estimate.time(at: .now) / 1000 }
}
