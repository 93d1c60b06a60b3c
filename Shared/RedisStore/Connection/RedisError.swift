import ServiceKit

/// Why a command gave no value. The first four say whether the server may have carried it out.
public enum RedisError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not connected: nothing was sent.
    case unavailable(String)
    /// It answers and takes no writes, as was found out a moment ago: nothing was sent.
    case writesRefused(String)
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
        case .unavailable, .writesRefused, .overloaded, .server: false
        }
    }

    public var description: String {
        switch self {
        case .unavailable(let reason): "Redis is unavailable: \(reason)"
        case .writesRefused(let reason): "Redis takes no writes: \(reason)"
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
    /// What the server's words mean; nil when it did not say any.
    public var refusal: RedisRefusal? {
        if case .server(let text) = self { RedisRefusal(text) } else { nil }
    }

    /// Whether Redis answers and refuses only what writes.
    public var isOfWritesAlone: Bool {
        if case .writesRefused = self { true } else { refusal?.kind == .outageOfWrites }
    }

    /// Whether the same step may succeed later: Redis is away, or refuses for now. What it gives in a form that nobody
    /// reads it will give so again.
    public var isPassing: Bool {
        switch self {
        case .unavailable, .writesRefused, .connectionLost, .timedOut, .overloaded, .cancelled: true
        case .server(let text): RedisRefusal(text).isPassing
        case .unexpectedReply: false
        }
    }

    /// What the error says about Redis, for its circuit breaker.
    var verdict: CircuitBreaker.Verdict {
        switch self {
        case .unavailable, .connectionLost, .timedOut: .failure
        case .writesRefused, .overloaded, .cancelled: .neither
        case .server(let text): RedisRefusal(text).kind.verdict
        case .unexpectedReply: .success
        }
    }
}

extension RedisRefusal.Kind {
    /// What it says about the server as a whole.
    var verdict: CircuitBreaker.Verdict {
        switch self {
        case .outage, .credentials: .failure
        // It answered: reads go on, and a wrong command is its caller's fault.
        case .outageOfWrites, .request: .success
        }
    }
}
