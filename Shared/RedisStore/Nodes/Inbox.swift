/// The bounded stream `inbox:{orchestrator}` in which nodes leave token batches for an orchestrator.
public enum Inbox {
    /// Entries that are kept for a reader that lags; older ones go (a gap is asked for again by index).
    public static let maximumEntries = 10_000
    /// An inbox that nobody wrote to for this long is gone.
    public static let lifetime: Duration = .seconds(300)

    /// Appends a payload.
    public static func write(
        _ pool: RedisPool, orchestrator: String, payload: [UInt8]
    ) async throws(RedisError) {
        _ = try await pool.run(
            script, keys: [key(orchestrator)],
            arguments: [.integer(Int64(maximumEntries)), .bytes(payload), .integer(lifetime.milliseconds)])
    }

    static func key(_ orchestrator: String) -> String { "inbox:{\(orchestrator)}" }

    private static let script = RedisScript(
        """
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'p', ARGV[2])
        return redis.call('PEXPIRE', KEYS[1], ARGV[3])
        """, effect: .writes)
}
