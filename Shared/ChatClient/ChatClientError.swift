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

        /// Whether the same request may get another answer at another gateway, or in a moment: something behind this one
        /// cannot be reached, or a front (nginx) has lost the gateway that it asked.
        /// - Parameter isRepeatable: the request does the same when it is carried out twice: it has an Idempotency-Key, or
        ///   begins nothing. Without that only what was not carried out is worth repeating.
        public func isPassing(forRepeatable isRepeatable: Bool) -> Bool {
            switch (status, code) {
            case (502, "unavailable"), (503, "unavailable"): true
            // "unknown": a front that is not ours.
            case (502, "interrupted"), (502, "unknown"), (504, "timeout"), (504, "unknown"): isRepeatable
            default: false
            }
        }
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
