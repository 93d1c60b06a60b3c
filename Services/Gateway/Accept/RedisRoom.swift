import Logging
import RedisStore
import ServiceKit
import ServiceLifecycle
import Synchronization

/// How full Redis is. A full one refuses every write, also those with which running turns go on and end: new turns are
/// refused before.
final class RedisRoom: Service {
    private static let interval: Duration = .seconds(1)
    /// Turns end within seconds, and take what they held with them.
    static let retryAfter: Duration = .seconds(10)

    private let redis: RedisPool
    private let watermark: Double
    private let logger: Logger
    private let seen = Mutex<Double?>(nil)

    /// - Parameter watermark: per cent of `maxmemory` at which new turns are refused; 100 refuses none.
    init(redis: RedisPool, watermark: Int, logger: Logger) {
        self.redis = redis
        self.watermark = Double(watermark) / 100
        self.logger = logger
    }

    /// The share of its `maxmemory` that Redis used when it was last asked; nil before that, and without a maximum.
    var share: Double? { seen.withLock { $0 } }

    var isFull: Bool { watermark < 1 && share.map { $0 >= watermark } ?? false }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.look()
                try? await Task.sleep(for: RedisRoom.interval)
            }
        }
    }

    func look() async {
        let wasFull = isFull
        do throws(RedisError) {
            let share = try await redis.memory().share
            seen.withLock { $0 = share }
        } catch {
            // Without Redis no turn is accepted anyway.
            logger.debug("Redis cannot be asked for its memory", metadata: ["error": "\(error)"])
        }
        guard isFull != wasFull else { return }
        logger.warning(
            isFull ? "Redis is nearly full: new turns are refused" : "Redis has room again",
            metadata: ["used": "\(share.map { "\(Int($0 * 100)) %" } ?? "unknown")"])
    }
}
