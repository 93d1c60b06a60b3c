/// What can go wrong between a request and its tokens.
public enum EngineError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Logits that are infinite or not a number, for these indexes into the step's `outputRows`; their turns fail.
    case nonFiniteLogits(outputs: [Int])
    /// A batch that breaks ``StepBatch``'s rules: a defect of the caller, nothing was computed.
    case invalidBatch(field: String, reason: String)
    /// A request that can never run; the field is the request's.
    case invalidRequest(field: String, reason: String)
    /// A bounded queue is full; try later.
    case overloaded(String)
    /// The engine is shutting down.
    case shutDown
    /// The model could not be prepared for this thread (memory, threads).
    case unavailable(String)

    public var description: String {
        switch self {
        case .nonFiniteLogits(let outputs): "non-finite logits for outputs \(outputs)"
        case .invalidBatch(let field, let reason): "invalid batch: \(field): \(reason)"
        case .invalidRequest(let field, let reason): "invalid request: \(field): \(reason)"
        case .overloaded(let reason): "overloaded: \(reason)"
        case .shutDown: "the engine is shut down"
        case .unavailable(let reason): "unavailable: \(reason)"
        }
    }
}
