/// Why a request of a client came to nothing.
public enum ChatClientError: Error, Sendable, Equatable {
    /// A gateway answered, and the answer is no.
    case refused(Refusal)
    /// No gateway gave a sign of life for as long as the client was willing to wait; the text is the last failure.
    case unreachable(String)
    /// A server said something that is not the protocol.
    case malformed(String)
    /// What the client was told to use is none.
    case invalid(String)

    /// The API's error: `{"error":{"code","message","field"?}}`.
    public struct Refusal: Error, Sendable, Equatable {
        public let status: Int
        /// A word for programs; "unknown" when the body had none.
        public let code: String
        /// A sentence for people.
        public let message: String
        public let field: String?
        public let retryAfter: Duration?
    }
}

extension ChatClientError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .refused(let refusal): refusal.message
        case .unreachable(let last): "no gateway can be reached: \(last)"
        case .malformed(let what): "not understood: \(what)"
        case .invalid(let what): what
        }
    }
}
