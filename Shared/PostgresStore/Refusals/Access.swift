import ServiceKit

/// What a statement does; a shard that takes no writes can be read.
enum Access: Sendable { case read, write }

extension DatabaseError {
    /// What the error says about the shard, for its circuit breaker, and about its writes, for theirs.
    func verdicts(
        on access: Access, afterWaiting waited: Duration, of patience: Duration
    ) -> (shard: CircuitBreaker.Verdict, writes: CircuitBreaker.Verdict) {
        switch self {
        case .unavailable, .connectionLost, .timedOut: (.failure, .neither)
        // Nobody gave a connection back in all that time: the shard hangs. A full queue of callers only says that there
        // are many.
        case .overloaded: (waited >= patience ? .failure : .neither, .neither)
        case .badConfiguration, .cancelled, .decoding, .migration: (.neither, .neither)
        case .server(let sqlState, _, _):
            switch ServerRefusal(sqlState: sqlState) {
            case .away, .credentials: (.failure, .neither)
            case .readOnly: (.success, .failure)
            case .unable: access == .write ? (.success, .failure) : (.failure, .neither)
            case .unknownStatement: (.neither, .neither)
            case .conflict, .data: (.success, .success)
            }
        }
    }
}
