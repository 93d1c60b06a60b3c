import ServiceLifecycle
import Synchronization

/// Since when this Redis has kept what it was told.
///
/// The mark is a key with the server's run id and the time at which the mark was made. A server that was restarted has
/// another run id, one that was emptied has no mark: either way a new mark is made, and whatever is older may have been
/// forgotten. An absent key proves something only about what is younger than the mark.
public struct GenerationMark: Service, Sendable {
    private static let key = "generation"
    /// The mark outlives any pause between two looks at it; when it did not, everything counts as forgotten, which
    /// errs on the safe side.
    private static let lifetime: Duration = .seconds(24 * 3600)
    private static let interval: Duration = .seconds(30)

    private static let script = RedisScript(
        LuaClock.source + RedisRefusal.lua + """

            local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
            local mark = redis.call('HMGET', KEYS[1], 'run', 'since')
            if mark[1] ~= run or not mark[2] then
              mark[2] = whole(now)
              redis.call('HSET', KEYS[1], 'run', run, 'since', mark[2])
            end
            refused(redis.pcall('PEXPIRE', KEYS[1], ARGV[1]))
            return mark[2]
            """, effect: .reads)

    private final class Seen: Sendable {
        let since = Mutex<Int64?>(nil)
    }

    private let pool: RedisPool
    private let seen = Seen()

    public init(pool: RedisPool) { self.pool = pool }

    /// What `keptSince` said last; nil before that. A mark is followed by later ones only, so whatever is older than this one
    /// may have been forgotten, and Redis need not be asked once more.
    public var lastSeen: Int64? { seen.since.withLock { $0 } }

    /// Unix time in milliseconds on the server's clock: what was written since then and has not expired is there.
    public func keptSince() async throws(RedisError) -> Int64 {
        let reply = try await pool.run(
            Self.script, keys: [Self.key], arguments: [.integer(Self.lifetime.milliseconds)])
        guard let since = reply.text.flatMap({ Int64($0) }), (0..<1 << 53).contains(since) else {
            throw .unexpectedReply("the generation mark: \(reply.summary)")
        }
        seen.since.withLock { $0 = since }
        return since
    }

    /// Makes the mark early and keeps it: a mark that is made at the first question would make everything before the
    /// question look forgotten.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do throws(RedisError) {
                    _ = try await keptSince()
                    try? await Task.sleep(for: Self.interval)
                } catch {
                    // Redis is away; when it is back it may be another, and the sooner that is marked the better.
                    try? await Task.sleep(for: .seconds(1))
                }
            }
        }
    }
}
