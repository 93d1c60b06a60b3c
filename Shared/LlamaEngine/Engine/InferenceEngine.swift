/// Takes requests, gives tokens through the callback it was made with.
public protocol InferenceEngine: Sendable {
    /// Queues a request. Its events follow in the order of their indexes; the last one has a finish reason.
    ///
    /// - Throws: ``EngineError/invalidRequest(field:reason:)``, ``EngineError/overloaded(_:)`` or
    ///   ``EngineError/shutDown``; there are then no events.
    func submit(_ request: GenerationRequest) throws(EngineError)

    /// Ends a request as ``FinishReason/cancelled``: before the next step its blocks are free. An id that is not in progress is ignored.
    func cancel(_ id: UInt64)

    var statistics: EngineStatistics { get }

    /// Refuses new requests, ends those in progress as the mode says, and returns when the engine's thread has ended.
    func shutdown(_ mode: ShutdownMode) async
}

/// What a shutdown does with the requests in progress.
public enum ShutdownMode: Sendable {
    /// Ends them as ``FinishReason/interrupted``.
    case atOnce
    /// Finishes them; ``InferenceEngine/shutdown(_:)`` with `atOnce` cuts this short.
    case drain
}

extension InferenceEngine {
    public func shutdown() async { await shutdown(.atOnce) }
}
