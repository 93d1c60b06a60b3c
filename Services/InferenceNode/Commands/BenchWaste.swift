import ArgumentParser
import Foundation
import LlamaEngine

/// How many KV slots are allocated and not used, over requests of mixed lengths; beside what buffers in one piece would take.
///
/// The scheduler and the block pool are the engine's own; the forward pass gives made-up logits, for only lengths matter.
struct BenchWaste {
    let json: Bool

    static let requests = 200
    private static let context = 2048
    private static let running = 32

    func run() throws {
        let account = Account()
        var configuration = EngineConfiguration()
        configuration.scheduler.maxRunning = Self.running
        configuration.scheduler.maxWaiting = Self.requests
        let engine = try Engine(
            makeForwardPass: { SilentForwardPass(kvBlockCount: 2048, contextLength: Self.context, maxRows: 256) },
            tokenizer: nil, configuration: configuration, onStep: { _ in account.countStep() })
        account.watch(engine)
        // Lengths as chats have them: many short ones, few long ones; the same at every run.
        var state: UInt64 = 1
        func uniform() -> Double {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Double(state >> 11) / Double(1 << 53)
        }
        var tokens = 0
        for id in 1...UInt64(Self.requests) {
            let prompt = min(1600, 16 + Int(-220 * log(1 - uniform())))
            let output = min(400, 16 + Int(-100 * log(1 - uniform())))
            tokens += prompt + output
            account.expect(id, reserved: prompt + 400)
            try engine.submit(
                GenerationRequest(
                    id: id, prompt: (0..<prompt).map { Int32($0 % 8) }, maxTokens: output, sampling: .greedy,
                    ignoreEnd: true))
        }
        account.waitForEnd()
        report(mean: Double(tokens) / Double(Self.requests), account)
    }

    private func report(mean: Double, _ account: Account) {
        let waste = account.waste(context: Self.context)
        func percent(_ part: Double) -> Double { (part * 1000).rounded() / 10 }
        print(
            json
                ? """
                {"test":"waste","requests":\(Self.requests),"mean_tokens":\(Int(mean)),"steps":\(account.steps),\
                "waste_percent":\(percent(waste.blocks)),"contiguous_context_percent":\(percent(waste.wholeContext)),\
                "contiguous_max_tokens_percent":\(percent(waste.reserved))}
                """
                : """
                \(Self.requests) requests of \(Int(mean)) tokens on average, up to \(Self.running) at once
                  slots allocated and not used, in blocks of \(StepBatch.blockSize): \(percent(waste.blocks)) %
                  in one buffer for each request, of the context's \(Self.context): \(percent(waste.wholeContext)) %
                  in one buffer for each request, of prompt + max_tokens (400): \(percent(waste.reserved)) %
                """)
    }
}

/// Sums over the steps, on the engine's thread; read when all has ended.
private final class Account: @unchecked Sendable {  // every stored variable is guarded by `condition`
    private let condition = NSCondition()
    private weak var engine: Engine?
    private var expected = 0
    private(set) var steps = 0
    private var allocated = 0.0, unused = 0.0, sequences = 0.0
    private var reservedSum = 0.0

    func watch(_ engine: Engine) { condition.withLock { self.engine = engine } }

    func expect(_ id: UInt64, reserved: Int) {
        condition.withLock {
            expected += 1
            reservedSum += Double(reserved)
        }
    }

    func countStep() {
        condition.lock()
        defer { condition.unlock() }
        guard let statistics = engine?.statistics else { return }
        steps += 1
        allocated += Double((statistics.totalBlocks - statistics.freeBlocks) * StepBatch.blockSize)
        unused += Double(statistics.unusedSlots)
        sequences += Double(statistics.running)
        if statistics.finished == expected { condition.broadcast() }
    }

    func waitForEnd() {
        condition.lock()
        defer { condition.unlock() }
        while (engine?.statistics.finished).map({ $0 < expected }) ?? false { condition.wait() }
    }

    /// Shares of the allocated slots that no token lies in, over all steps.
    func waste(context: Int) -> (blocks: Double, wholeContext: Double, reserved: Double) {
        condition.withLock {
            let used = allocated - unused
            return (
                unused / allocated, 1 - used / (sequences * Double(context)),
                1 - used / (sequences * reservedSum / Double(expected))
            )
        }
    }
}

/// Gives the same logits to every row, at once.
private final class SilentForwardPass: ForwardPass {
    let vocabulary = 16
    let kvBlockCount: Int
    let contextLength: Int
    let maxRows: Int
    let numericsID = "silent"
    let expectedRowSeconds = 0.0005
    private let row: UnsafeMutableBufferPointer<Float>

    init(kvBlockCount: Int, contextLength: Int, maxRows: Int) {
        self.kvBlockCount = kvBlockCount
        self.contextLength = contextLength
        self.maxRows = maxRows
        row = .allocate(capacity: vocabulary)
        row.initialize(repeating: 0)
    }

    deinit { row.deallocate() }

    func run(_ batch: borrowing StepBatch) throws(EngineError) {}
    func logits(_ output: Int) -> UnsafeMutableBufferPointer<Float> { row }
    func copyBlock(from: Int32, to: Int32) {}
    let blockBytes = 0
    func saveBlock(_ block: Int32, to bytes: UnsafeMutableRawPointer) {}
    func restoreBlock(_ block: Int32, from bytes: UnsafeRawPointer) {}
}
