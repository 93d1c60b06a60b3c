import Foundation

/// An engine without a model, for load tests of everything around it: thousands of sequences, tokens at set times.
///
/// The first token of a request comes `timeToFirstToken` after its submission, each next one `interTokenLatency` after the one
/// before. A token is a function of (seed, output index), so a resumed turn goes on with the same tokens. Every turn runs to its
/// `maxTokens` or to one of its `stopTokens`; there is no text, so stop texts are not looked for.
public final class SimulatedEngine: InferenceEngine {
    public struct Configuration: Sendable {
        /// Milliseconds from submission to the first token.
        public var timeToFirstToken = 100.0
        /// Milliseconds from token to token.
        public var interTokenLatency = 20.0
        /// Requests in progress at once.
        public var maxRequests = 10_000
        /// The ids that tokens are drawn from; ordinary text in the tokenizer of whoever reads them.
        public var tokens: Range<Int32> = 1_000..<2_000
        /// Ids that a prompt may have.
        public var vocabulary = 1 << 20
        /// Prompt and output together.
        public var contextLength = 1 << 20

        public init() {}
    }

    private let mailbox: Mailbox
    private let configuration: Configuration

    /// - Parameter onStep: called on the engine's thread with the events of all sequences whose time has come; must not block.
    /// - Throws: ``EngineError/unavailable(_:)`` for times that are negative or not finite, or an empty range of tokens.
    public init(
        configuration: Configuration = Configuration(), onStep: @escaping @Sendable ([TokenEvent]) -> Void,
        report: (@Sendable (StepReport) -> Void)? = nil
    ) throws(EngineError) {
        for (name, value) in [
            ("ttft-ms", configuration.timeToFirstToken), ("itl-ms", configuration.interTokenLatency),
        ] where !(value >= 0 && value <= 1e9) {
            throw .unavailable("\(name): \(value) is not in 0...1e9")
        }
        guard configuration.tokens.lowerBound >= 0, !configuration.tokens.isEmpty else {
            throw .unavailable("tokens: \(configuration.tokens) is not a range of token ids")
        }
        self.configuration = configuration
        mailbox = Mailbox(maxWaiting: max(0, configuration.maxRequests), statistics: EngineStatistics())
        let body = ThreadBody(
            SimulatedLoop(configuration: configuration, mailbox: mailbox, onStep: onStep, report: report).run)
        let thread = Thread { body.run() }
        thread.name = "simulated"
        thread.start()
    }

    deinit { mailbox.requestShutdown(.atOnce) }

    public func submit(_ request: GenerationRequest) throws(EngineError) {
        try request.validate(
            vocabulary: configuration.vocabulary, contextLength: configuration.contextLength, blockCount: .max)
        try mailbox.submit(request)
    }

    public func cancel(_ id: UInt64) { mailbox.cancel(id) }

    public var statistics: EngineStatistics { mailbox.statistics }

    public func shutdown(_ mode: ShutdownMode) async {
        mailbox.requestShutdown(mode)
        await mailbox.untilEnded()
    }
}
