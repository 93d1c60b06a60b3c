import ServiceKit

extension WorkPool {
    /// Goes through replies, or makes what is stored, where that may take long.
    /// - Throws: what the work throws; `.overloaded` when the pool is full; `.cancelled`.
    func compute<Result: Sendable>(
        bytes: Int, _ work: @escaping @Sendable (WorkPool.Ticket) throws -> Result
    ) async throws(RedisError) -> Result {
        do { return try await run(bytes: bytes, work) } catch {
            if let error = error as? RedisError { throw error }
            throw error is CancellationError ? .cancelled : .overloaded
        }
    }
}

extension RedisValue {
    /// About how many bytes whoever reads it goes through.
    var extent: Int {
        switch self {
        case .null, .integer: RedisValue.overhead
        case .string(let bytes): RedisValue.overhead + bytes.count
        case .status(let text), .error(let text): RedisValue.overhead + text.utf8.count
        case .array(let values): values.reduce(RedisValue.overhead) { $0 + $1.extent }
        }
    }

    private static let overhead = 16
}
