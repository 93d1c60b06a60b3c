import ServiceKit

/// Why a command gave no value. The first three say whether the server may have carried it out.
public enum RedisError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not connected: nothing was sent.
    case unavailable(String)
    /// The connection broke while the command was in flight: it may have been carried out.
    case connectionLost
    /// No reply within the command time-out: it may have been carried out.
    case timedOut
    /// Too many commands wait already: nothing was sent.
    case overloaded
    /// The caller's task was cancelled while it waited: the command may have been carried out; its reply is dropped.
    case cancelled
    /// The server refused, in its own words (`WRONGTYPE …`, `OOM …`, `LOADING …`).
    case server(String)
    /// The reply is not of the form that the command gives.
    case unexpectedReply(String)

    /// Whether the server may have acted on the command.
    public var mayHaveBeenCarriedOut: Bool {
        switch self {
        case .connectionLost, .timedOut, .cancelled, .unexpectedReply: true
        case .unavailable, .overloaded, .server: false
        }
    }

    public var description: String {
        switch self {
        case .unavailable(let reason): "Redis is unavailable: \(reason)"
        case .connectionLost: "the connection to Redis was lost while a command was in flight"
        case .timedOut: "Redis did not reply in time"
        case .overloaded: "too many commands are waiting for Redis"
        case .cancelled: "cancelled while waiting for Redis"
        case .server(let text): "Redis refused: \(text)"
        case .unexpectedReply(let what): "Redis replied otherwise than expected: \(what)"
        }
    }
}

extension RedisError {
    /// What the error says about Redis, for its circuit breaker.
    var verdict: CircuitBreaker.Verdict {
        switch self {
        case .unavailable, .connectionLost, .timedOut: .failure
        case .overloaded, .cancelled: .neither
        // It answered. What it refuses (no memory, a wrong type) it may refuse to one command and give to the next.
        case .server, .unexpectedReply: .success
        }
    }

    /// What replies say: a server that refuses every command alike is as good as away.
    static func verdict(of replies: [RedisValue]) -> CircuitBreaker.Verdict {
        let isUseless = replies.contains { reply in
            guard case .error(let text) = reply else { return false }
            return ["BUSY ", "LOADING ", "MASTERDOWN "].contains(where: text.hasPrefix)
        }
        return isUseless ? .failure : .success
    }
}
