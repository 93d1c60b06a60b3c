import Synchronization

/// Bounds how many turns that Redis does not know are looked up in the shards for one tenant at a time: whoever invents ids
/// keeps few of the shards' connections busy.
final class ShardLookups: Sendable {
    /// As many as a moment of reconnects needs: a look-up takes milliseconds.
    static let ofTenant = 64

    private let counts = Mutex<[String: Int]>([:])

    /// Runs `body` when the tenant has a look-up left.
    /// - Throws: `APIError` 503 when it has none; what `body` throws.
    func run<Result: Sendable>(
        of tenant: String, _ body: () async throws(APIError) -> Result
    ) async throws(APIError) -> Result {
        let mayGo = counts.withLock { counts in
            guard counts[tenant, default: 0] < ShardLookups.ofTenant else { return false }
            counts[tenant, default: 0] += 1
            return true
        }
        guard mayGo else { throw .tooManyLookups }
        defer {
            counts.withLock { counts in
                let left = counts[tenant, default: 1] - 1
                counts[tenant] = left > 0 ? left : nil
            }
        }
        return try await body()
    }
}
