import Synchronization

/// The time that deadlines run on: Redis TIME, as one clock for all services.
public final class RedisClock: Sendable {
    private struct Measurement {
        /// Server's Unix time in µs at the local instant `at`.
        let time: Int64
        let at: ContinuousClock.Instant
    }

    private struct State {
        var measurement: Measurement?
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
        let (known, mustMeasure) = state.withLock { state -> (Measurement?, Bool) in
            guard let measurement = state.measurement else { return (nil, true) }
            if measurement.at.duration(to: .now) < refresh || state.isMeasuring { return (measurement, false) }
            state.isMeasuring = true
            return (measurement, true)
        }
        if let known, !mustMeasure { return RedisClock.milliseconds(known) }
        do {
            let measured = try await measure()
            state.withLock { state in
                state.measurement = measured
                state.isMeasuring = false
            }
            return RedisClock.milliseconds(measured)
        } catch {
            state.withLock { $0.isMeasuring = false }
            guard let known else { throw error }
            return RedisClock.milliseconds(known)
        }
    }

    private func measure() async throws(RedisError) -> Measurement {
        let before = ContinuousClock.now
        let reply = try await pool.send("TIME")
        guard let parts = reply.array, parts.count == 2, let seconds = parts[0].int, let micros = parts[1].int,
            (0..<1 << 40).contains(seconds), (0..<1_000_000).contains(micros)
        else { throw .unexpectedReply("TIME gave \(reply.summary)") }
        // The server looked at its clock about half way through the round trip.
        return Measurement(time: seconds * 1_000_000 + micros, at: before + before.duration(to: .now) / 2)
    }

    private static func milliseconds(_ measurement: Measurement) -> Int64 {
        (measurement.time + Int64(measurement.at.duration(to: .now) / .microseconds(1))) / 1000
    }
}
