/// Named facts with an expiry, such as "this settle marker has come through": key `marker:{name}`.
public struct Markers: Sendable {
    private let pool: RedisPool

    public init(pool: RedisPool) { self.pool = pool }

    public func set(_ name: String, ttl: Duration) async throws(RedisError) {
        _ = try await pool.send("SET", .text(key(name)), "1", "PX", .integer(max(1, ttl.milliseconds)))
    }

    public func exists(_ name: String) async throws(RedisError) -> Bool {
        try await pool.send("EXISTS", .text(key(name))).int == 1
    }

    private func key(_ name: String) -> String { "marker:{\(name)}" }
}
