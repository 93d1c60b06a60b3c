/// An exact sliding window: no interval of the window's length ever holds more than the limit.
public struct RateLimiter: Sendable {
    public enum Decision: Sendable, Equatable {
        case allowed(remaining: Int)
        /// The first moment at which a request would be allowed.
        case refused(retryAfter: Duration)
    }

    public init(pool: RedisPool, window: Duration = .seconds(60)) {}

    /// - Parameter name: what is limited, such as `chat:<key>:<user>`.
    public func take(_ name: String, limit: Int) async throws(RedisError) -> Decision { throw RedisError.notBuilt }
}
