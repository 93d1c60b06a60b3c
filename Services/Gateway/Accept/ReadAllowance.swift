import HTTPTypes
import Hummingbird
import Synchronization

/// How many requests that begin no turn (GET, DELETE) a key may make at this gateway: so many a second on average, and a
/// burst of those that come back at once when another gateway has died. In memory: nobody else is asked.
final class ReadAllowance: Sendable {
    /// Seconds whose requests may come at once.
    private static let burst = 20
    private static let capacity = 10_000

    private struct Bucket {
        var used: Double
        var at: ContinuousClock.Instant
    }

    private let rate: Int
    private let buckets = Mutex<[String: Bucket]>([:])

    /// - Parameter rate: requests a second; 0 lifts the limit.
    init(rate: Int) { self.rate = rate }

    /// - Returns: nil when the request may be made, else the time after which the next may.
    func take(_ key: String, at now: ContinuousClock.Instant = .now) -> Duration? {
        guard rate > 0 else { return nil }
        let rate = Double(rate)
        let room = rate * Double(ReadAllowance.burst)
        return buckets.withLock { buckets in
            if buckets.count >= ReadAllowance.capacity, buckets[key] == nil {
                buckets = buckets.filter { left($0.value, rate, at: now) > 0 }
                // More keys than that are in use at once: counting begins anew.
                if buckets.count >= ReadAllowance.capacity { buckets = [:] }
            }
            let used = buckets[key].map { left($0, rate, at: now) } ?? 0
            guard used + 1 <= room else { return .seconds((used + 1 - room) / rate) }
            buckets[key] = Bucket(used: used + 1, at: now)
            return nil
        }
    }

    private func left(_ bucket: Bucket, _ rate: Double, at now: ContinuousClock.Instant) -> Double {
        max(0, bucket.used - (now - bucket.at) / .seconds(1) * rate)
    }
}

/// Counts what begins no turn against its key.
struct ReadLimitMiddleware: RouterMiddleware {
    let allowance: ReadAllowance

    func handle(
        _ request: Request, context: GatewayRequestContext,
        next: (Request, GatewayRequestContext) async throws -> Response
    ) async throws -> Response {
        if request.method != .post, let wait = allowance.take(context.principal.keyID) {
            throw APIError.tooManyRequests("too many requests of this key at this gateway", retryAfter: wait)
        }
        return try await next(request, context)
    }
}
