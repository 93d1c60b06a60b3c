/// One turn to generate: token ids in, token ids out.
public struct GenerationRequest: Sendable {
    /// Chosen by the caller; unique among the requests in progress.
    public var id: UInt64
    /// At least one token, all below the vocabulary.
    public var prompt: [Int32]
    /// Tokens of this turn that another engine generated before: generation goes on after them. The last one is computed again
    /// and not emitted; if it differs, the turn ends as ``FinishReason/diverged``.
    public var outputSoFar: [Int32]
    /// The longest output, `outputSoFar` included.
    public var maxTokens: Int
    public var sampling: SamplingParameters
    /// Texts that end the turn; the text before the first of them is the answer.
    public var stop: [String]
    /// Tokens that end the turn, beside the model's own end of turn.
    public var stopTokens: Set<Int32>
    /// The model's own end of turn does not end it (for measurements).
    public var ignoreEnd: Bool
    public var priority: RequestPriority
    /// Seconds on ``Engine``'s monotonic clock; nil is the moment of submission. One in the future counts as now.
    public var arrival: Double?
    /// Requests with the same salt share the KV blocks of equal beginnings; nil shares with nobody. A tenant's name: the time to
    /// the first token tells whether somebody with the same salt has sent the same beginning before.
    public var cacheSalt: String?

    public init(
        id: UInt64, prompt: [Int32], outputSoFar: [Int32] = [], maxTokens: Int,
        sampling: SamplingParameters = SamplingParameters(), stop: [String] = [], stopTokens: Set<Int32> = [],
        ignoreEnd: Bool = false, priority: RequestPriority = .chat, arrival: Double? = nil,
        cacheSalt: String? = nil
    ) {
        self.id = id
        self.prompt = prompt
        self.outputSoFar = outputSoFar
        self.maxTokens = maxTokens
        self.sampling = sampling
        self.stop = stop
        self.stopTokens = stopTokens
        self.ignoreEnd = ignoreEnd
        self.priority = priority
        self.arrival = arrival
        self.cacheSalt = cacheSalt
    }

    /// Stop texts of one request.
    public static let maxStops = 16
    /// UTF-8 bytes of one stop text.
    public static let maxStopBytes = 512
    /// Stop tokens of one request.
    public static let maxStopTokens = 256
    /// UTF-8 bytes of a cache salt.
    public static let maxSaltBytes = 512
}

extension GenerationRequest {
    /// Checks everything that does not depend on what else runs.
    ///
    /// - Throws: ``EngineError/invalidRequest(field:reason:)`` naming the first field that is wrong.
    func validate(vocabulary: Int, contextLength: Int, blockCount: Int) throws(EngineError) {
        guard !prompt.isEmpty else { throw .invalidRequest(field: "prompt", reason: "is empty") }
        guard maxTokens >= 1 else { throw .invalidRequest(field: "max_tokens", reason: "\(maxTokens) is below 1") }
        guard outputSoFar.count <= maxTokens else {
            throw .invalidRequest(
                field: "output_so_far", reason: "\(outputSoFar.count) tokens are more than max_tokens \(maxTokens)")
        }
        let (maximum, overflow) = prompt.count.addingReportingOverflow(maxTokens)
        try Scheduler.checkFit(
            maximumTokens: overflow ? .max - BlockPool.blockSize : maximum, contextLength: contextLength,
            blockCount: blockCount)
        try Self.check(prompt, "prompt", vocabulary)
        try Self.check(outputSoFar, "output_so_far", vocabulary)
        try sampling.validate()
        guard stop.count <= Self.maxStops else {
            throw .invalidRequest(field: "stop", reason: "\(stop.count) texts, at most \(Self.maxStops)")
        }
        for text in stop where text.isEmpty || text.utf8.count > Self.maxStopBytes {
            throw .invalidRequest(
                field: "stop", reason: "a text of \(text.utf8.count) bytes, not 1 to \(Self.maxStopBytes)")
        }
        guard stopTokens.count <= Self.maxStopTokens else {
            throw .invalidRequest(
                field: "stop_tokens", reason: "\(stopTokens.count) tokens, at most \(Self.maxStopTokens)")
        }
        if let arrival, !arrival.isFinite {
            throw .invalidRequest(field: "arrival", reason: "\(arrival) is not a time")
        }
        if let cacheSalt, cacheSalt.utf8.count > Self.maxSaltBytes {
            throw .invalidRequest(
                field: "cache_salt", reason: "\(cacheSalt.utf8.count) bytes, at most \(Self.maxSaltBytes)")
        }
    }

    private static func check(_ tokens: [Int32], _ field: String, _ vocabulary: Int) throws(EngineError) {
        guard let wrong = tokens.firstIndex(where: { $0 < 0 || Int($0) >= vocabulary }) else { return }
        throw .invalidRequest(
            field: field, reason: "token \(tokens[wrong]) at \(wrong) is not in a vocabulary of \(vocabulary)")
    }
}
