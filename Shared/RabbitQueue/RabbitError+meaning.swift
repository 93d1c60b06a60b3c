import ServiceKit

extension RabbitError {
    /// What an answer of the broker, or its silence, means for whoever asked.
    public enum Meaning: Sendable {
        /// The broker, or the part of it that was asked, cannot now: the same call succeeds later. It is repeated with a
        /// pause; its breaker counts it.
        case outage
        /// It answered and will not: this queue is full, or gone, or another's. Only who uses that queue waits.
        case refusal
        /// It will not until somebody changes settings or the broker: credentials, a virtual host, a queue that exists in
        /// another form. The service is not ready and says why; it tries again all the same, and drops nothing.
        case configuration
        /// The caller's own: a bound of this process, a value that cannot be sent, a call that was cancelled.
        case caller
    }

    /// The table of what a broker may answer. What is not in it is an outage.
    public var meaning: Meaning {
        switch self {
        case .unavailable, .connectionLost, .timedOut, .protocolViolation, .blocked: .outage
        case .unroutable, .rejected: .refusal
        case .overloaded, .invalid, .alreadySettled, .cancelled: .caller
        case .badURI: .configuration
        case .server(let code, let text): Self.meaning(of: code, text)
        }
    }

    private static func meaning(of code: Int, _ text: String) -> Meaning {
        switch code {
        // Content too large, no consumers, resource locked.
        case 311, 313, 405: .refusal
        // Not found is also said of a queue whose node or process is away.
        case 404:
            ["down or inaccessible", "stopped by supervisor", "timed out", "no leader"].contains(where: text.contains)
                ? .outage : .refusal
        // Invalid path, access refused (credentials, rights), precondition failed, not allowed (no such virtual host), not
        // implemented.
        case 402, 403, 406, 530, 540: .configuration
        // Connection forced (an operator, a shutdown), frame, syntax, command, channel and internal errors, a lack of
        // resources, and whatever else.
        default: .outage
        }
    }

    /// What the error says about the broker, for its circuit breaker: only an outage is a reason to keep messages from all
    /// queues.
    var verdict: CircuitBreaker.Verdict {
        switch meaning {
        case .outage: .failure
        case .refusal: .success
        case .configuration: if case .badURI = self { .neither } else { .success }
        case .caller: .neither
        }
    }
}
