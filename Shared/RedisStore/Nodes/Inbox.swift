/// The bounded stream `inbox:{orchestrator}` in which nodes leave token batches for an orchestrator.
public enum Inbox {
    /// Entries that are kept for a reader that lags; older ones go (a gap is asked for again by index).
    public static let maximumEntries = 10_000
    /// The same for the memory that they take, in bytes.
    public static let maximumBytes = 64 << 20
    /// Fewer and smaller entries than these are not weighed, and of more every 64th weighs them: it goes through them all.
    static let (weighedEntries, weighedPayload) = (256, 64 << 10)
    /// An inbox that nobody wrote to for this long is gone.
    public static let lifetime: Duration = .seconds(300)

    /// Appends a payload.
    public static func write(
        _ pool: RedisPool, orchestrator: String, payload: [UInt8], maximumBytes: Int = Inbox.maximumBytes
    ) async throws(RedisError) {
        _ = try await pool.run(
            script, keys: [key(orchestrator)],
            arguments: [
                .integer(Int64(maximumEntries)), .bytes(payload), .integer(lifetime.milliseconds),
                .integer(Int64(maximumBytes)), .integer(Int64(weighedEntries)), .integer(Int64(weighedPayload)),
            ])
    }

    static func key(_ orchestrator: String) -> String { "inbox:{\(orchestrator)}" }

    private static let script = RedisScript(
        """
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'p', ARGV[2])
        local entries = redis.call('XLEN', KEYS[1])
        if entries > tonumber(ARGV[5]) and entries % 64 == 0 or #ARGV[2] > tonumber(ARGV[6]) then
            while entries > 1 and redis.call('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 0) > tonumber(ARGV[4]) do
                entries = math.floor(entries / 2)
                redis.call('XTRIM', KEYS[1], 'MAXLEN', entries)
            end
        end
        return redis.call('PEXPIRE', KEYS[1], ARGV[3])
        """, effect: .writes)
}
