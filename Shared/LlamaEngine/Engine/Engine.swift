import Foundation
import ModelFile

/// Continuous batching over one forward pass, on a thread of its own.
///
/// The thread alone owns the scheduler and the forward pass. Callers reach it through a bounded mailbox; without work it is
/// parked. A failure of the forward pass fails the turns of that step, never the process.
public final class Engine: InferenceEngine {
    private let mailbox: Mailbox
    private let vocabulary: Int
    private let contextLength: Int
    private let blockCount: Int
    private let findsStopTexts: Bool

    /// - Parameters:
    ///   - makeForwardPass: called once, before the thread starts; its errors are thrown on.
    ///   - makeDraftPass: called once too where ``SpeculationMode/draft`` is set: a smaller model's pass, of the same vocabulary.
    ///   - tokenizer: its end of turn ends turns, and stop texts are found in its text; without one both need `stopTokens`.
    ///   - onStep: called on the engine's thread once for each step with that step's events, which are in the order of
    ///     each request's indexes. It must not block.
    ///   - report: called on the engine's thread after each step, before its events are given out; must not block either.
    public convenience init<Pass: ForwardPass>(
        makeForwardPass: @Sendable () throws -> Pass, makeDraftPass: (@Sendable () throws -> any ForwardPass)? = nil,
        tokenizer: Tokenizer?, configuration: EngineConfiguration, onStep: @escaping @Sendable ([TokenEvent]) -> Void,
        report: (@Sendable (StepReport) -> Void)? = nil
    ) throws {
        let rules = tokenizer.map { tokenizer in
            StopRules(
                endTokens: tokenizer.stopTokens, detector: { TextAssembler(tokenizer: tokenizer, stop: $0) })
        }
        try self.init(
            pass: makeForwardPass(), draftPass: configuration.speculation.mode == .draft ? makeDraftPass?() : nil,
            rules: rules ?? StopRules(), configuration: configuration, onStep: onStep, report: report)
    }

    /// - Throws: ``EngineError/unavailable(_:)`` when the forward pass has no room for a token, or the draft model is missing or has
    ///   another vocabulary.
    init<Pass: ForwardPass>(
        pass: sending Pass, draftPass: sending (any ForwardPass)? = nil, rules: StopRules,
        configuration: EngineConfiguration,
        onStep: @escaping @Sendable ([TokenEvent]) -> Void, report: (@Sendable (StepReport) -> Void)? = nil
    ) throws(EngineError) {
        guard pass.vocabulary > 0, pass.kvBlockCount > 0, pass.contextLength > 0, pass.maxRows > 0 else {
            throw .unavailable(
                "a forward pass of \(pass.vocabulary) logits, \(pass.kvBlockCount) KV blocks, \(pass.maxRows) rows")
        }
        vocabulary = pass.vocabulary
        contextLength = pass.contextLength
        blockCount = pass.kvBlockCount
        findsStopTexts = rules.detector != nil
        var statistics = EngineStatistics()
        statistics.totalBlocks = blockCount
        statistics.freeBlocks = blockCount
        let speculation = try Speculation.make(
            configuration.speculation, vocabulary: pass.vocabulary, draftPass: draftPass)
        var scheduling = configuration.scheduler.bounded(maxRows: pass.maxRows)
        scheduling.expectedRowSeconds = pass.expectedRowSeconds
        mailbox = Mailbox(maxWaiting: scheduling.maxWaiting, statistics: statistics)
        let space = SwapSpace(byteCount: configuration.swapBytes, blockBytes: pass.blockBytes)
        let file: SwapFile? =
            space.slotCount == 0
            ? nil
            : try SwapFile(
                slots: space.slotCount, slotBytes: space.blockBytes,
                directory: configuration.swapDirectory ?? NSTemporaryDirectory())
        let body = ThreadBody(
            EngineLoop(
                pass: pass, swap: file.map { (space, $0) }, mailbox: mailbox, rules: rules, configuration: scheduling,
                speculation: speculation,
                statistics: statistics, onStep: onStep, report: report
            ).run)
        let thread = Thread { body.run() }
        thread.name = configuration.threadName
        thread.start()
    }

    deinit { mailbox.requestShutdown(.atOnce) }

    public func submit(_ request: GenerationRequest) throws(EngineError) {
        try request.validate(vocabulary: vocabulary, contextLength: contextLength, blockCount: blockCount)
        if !request.stop.isEmpty, !findsStopTexts {
            throw .invalidRequest(field: "stop", reason: "this engine has no tokenizer to find texts with")
        }
        try mailbox.submit(request)
    }

    public func cancel(_ id: UInt64) { mailbox.cancel(id) }

    public var statistics: EngineStatistics { mailbox.statistics }

    public func shutdown(_ mode: ShutdownMode) async {
        mailbox.requestShutdown(mode)
        await mailbox.untilEnded()
    }
}

/// Carries the loop, which is not `Sendable`, to the one thread that will ever touch it.
struct ThreadBody: @unchecked Sendable {  // made on one thread and then used on the new one only
    let run: () -> Void

    init(_ run: @escaping () -> Void) { self.run = run }
}
