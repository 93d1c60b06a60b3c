import ServiceKit

/// What went wrong between a caller and the broker, and whether the work may have been done.
public enum RabbitError: Error, Sendable, Hashable, CustomStringConvertible {
    /// There is no connection; nothing was sent.
    case unavailable
    /// The broker returned a mandatory message: no such queue (a node queue vanished with its node). It was not stored.
    case unroutable(queue: String)
    /// The broker refused the message (basic.nack): the queue is at its bound, or is a quorum queue that has no leader
    /// now. It was not stored.
    case rejected(queue: String)
    /// No answer in time; the outcome is unknown. Retry under the same id.
    case timedOut
    /// The connection or channel ended; the outcome is unknown. A delivery of it comes again; retry a publish under
    /// the same id.
    case connectionLost
    /// A bound of this client says no; nothing was sent.
    case overloaded
    /// The broker reads no publishes while it has too little memory or disk. What was sent before it said so lies in its
    /// socket, and is stored when it reads again: the outcome is unknown then.
    case blocked(wasSent: Bool)
    /// The broker closed the channel or connection, with AMQP's reply code (404 not found, 405 locked, 406
    /// precondition failed, 403 access refused, ...) and its text.
    case server(code: Int, text: String)
    /// The URI's part and what is wrong with it; never its value, which may be a password.
    case badURI(String)
    /// A field of a message or declaration breaks a limit; nothing was sent.
    case invalid(field: String, reason: String)
    /// What came over the socket is not AMQP 0-9-1 as it may come here; the connection was given up.
    case protocolViolation(String)
    /// The delivery was acknowledged or rejected before.
    case alreadySettled
    /// The waiting task was cancelled; the outcome is unknown.
    case cancelled

    public var description: String {
        switch self {
        case .unavailable: "no connection to the broker"
        case .unroutable(let queue): "no queue \(queue)"
        case .rejected(let queue): "queue \(queue) refused the message: it is full or not ready"
        case .timedOut: "the broker did not answer in time; the outcome is unknown"
        case .connectionLost: "the connection to the broker was lost; the outcome is unknown"
        case .overloaded: "too much is waiting for the broker"
        case .blocked: "the broker takes no messages: it is short of memory or disk"
        case .server(let code, let text): "the broker said \(code): \(text)"
        case .badURI(let reason): "bad AMQP URI: \(reason)"
        case .invalid(let field, let reason): "\(field): \(reason)"
        case .protocolViolation(let reason): "not AMQP as expected: \(reason)"
        case .alreadySettled: "the delivery was settled before"
        case .cancelled: "cancelled while waiting for the broker; the outcome is unknown"
        }
    }

    /// Whether the broker may hold the message although the publish threw: then only a retry under the same id is safe.
    public var outcomeIsUnknown: Bool {
        switch self {
        case .timedOut, .connectionLost, .cancelled, .blocked(wasSent: true): true
        default: false
        }
    }
}
