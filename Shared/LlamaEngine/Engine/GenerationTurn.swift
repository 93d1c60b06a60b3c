/// One request in progress, on the engine's thread: what becomes of its sampled tokens.
///
/// A class, so that its texts and counts are changed in place and never copied.
final class GenerationTurn {
    let request: GenerationRequest
    private let endTokens: Set<Int32>
    private var detector: (any StopDetector)?
    private(set) var penalties: PenaltyCounts?
    /// Output index of the token that is sampled next.
    private(set) var nextIndex: Int
    /// The logged token that the first sampled one must equal, in a resumed turn.
    private var expected: Int32?
    /// Whether a step has computed any of it.
    var hasBegun = false

    init(_ request: GenerationRequest, rules: StopRules) {
        self.request = request
        endTokens = request.ignoreEnd ? request.stopTokens : request.stopTokens.union(rules.endTokens)
        detector = request.stop.isEmpty ? nil : rules.detector?(request.stop)
        expected = request.outputSoFar.last
        let known = request.outputSoFar.dropLast()
        nextIndex = known.count
        for token in known { _ = detector?.completesStop(token) }
        if request.sampling.hasPenalties {
            penalties = PenaltyCounts(prompt: request.prompt, output: known)
        }
    }

    /// The tokens to compute before the first is sampled.
    var initialTokens: [Int32] { request.prompt + request.outputSoFar.dropLast() }

    /// What follows from a sampled token: the event to emit (none for a verified token of a resumed turn that goes on).
    func take(_ token: Int32) -> TokenEvent? {
        let verifying = expected != nil
        if let expected, expected != token {
            return TokenEvent(
                request: request.id, index: nextIndex, token: TokenEvent.none, finish: .diverged,
                reason: "token \(nextIndex) was \(expected) and came out as \(token)")
        }
        expected = nil
        penalties?.append(token)
        let completed = detector?.completesStop(token) ?? false
        let index = nextIndex
        nextIndex += 1
        let finish: FinishReason? =
            if completed || endTokens.contains(token) { .stop } else if nextIndex >= request.maxTokens { .length } else
            { nil }
        if verifying {
            // The log already had this token; only an end that was not recorded is news.
            return finish.map { TokenEvent(request: request.id, index: nextIndex, token: TokenEvent.none, finish: $0) }
        }
        return TokenEvent(request: request.id, index: index, token: token, finish: finish)
    }

    /// The event of an end that no token brought about.
    func ending(_ finish: FinishReason, reason: String? = nil) -> TokenEvent {
        TokenEvent(request: request.id, index: nextIndex, token: TokenEvent.none, finish: finish, reason: reason)
    }
}
