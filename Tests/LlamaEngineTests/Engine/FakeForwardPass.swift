import Foundation
import SeededRandom

@testable import LlamaEngine

/// A forward pass whose logits are a function of the token history that it reads back through the block tables.
///
/// Each KV slot keeps the token and position written into it. A wrong table, a block shared by mistake, a position skipped or
/// computed twice gives other tokens, and is recorded as a violation as well.
final class FakeForwardPass: ForwardPass {
    let vocabulary: Int
    let kvBlockCount: Int
    let contextLength: Int
    let maxRows: Int
    let numericsID = "fake"
    let expectedRowSeconds = 0.0005
    /// Tokens that the logits depend on. With few of them the text soon repeats itself.
    private let memory: Int

    private var slots: [(token: Int32, position: Int32)]
    private let buffers: UnsafeMutableBufferPointer<Float>
    let probe: Probe
    /// Called before each step, with the step's number, on the engine's thread.
    private let onRun: OnRun
    typealias OnRun = @Sendable (Int, borrowing StepBatch) throws(EngineError) -> Void
    private var steps = 0

    /// What tests read while the engine's thread runs.
    final class Probe: @unchecked Sendable {  // guarded by `lock`
        private let lock = NSLock()
        private var recorded: [String] = []
        private var rowCounts: [Int] = []
        private var drawCount = 0

        var violations: [String] { lock.withLock { recorded } }
        var stepRows: [Int] { lock.withLock { rowCounts } }
        func record(_ text: String) { lock.withLock { if recorded.count < 5 { recorded.append(text) } } }
        func step(rows: Int) { lock.withLock { rowCounts.append(rows) } }
        /// Tokens that steps have drawn together.
        var draws: Int { lock.withLock { drawCount } }
        func draw(_ count: Int) { lock.withLock { drawCount += count } }
    }

    init(
        vocabulary: Int = 97, blocks: Int, contextLength: Int, maxRows: Int, memory: Int = .max, probe: Probe,
        onRun: @escaping OnRun
    ) {
        self.memory = memory
        self.onRun = onRun
        self.vocabulary = vocabulary
        kvBlockCount = blocks
        self.contextLength = contextLength
        self.maxRows = maxRows
        self.probe = probe
        slots = Array(repeating: (-1, -1), count: blocks * StepBatch.blockSize)
        buffers = .allocate(capacity: vocabulary * maxRows)
    }

    deinit { buffers.deallocate() }

    func run(_ batch: borrowing StepBatch) throws(EngineError) {
        probe.step(rows: batch.rowCount)
        if batch.rowCount == 0 || batch.rowCount > maxRows { probe.record("a step of \(batch.rowCount) rows") }
        steps += 1
        try onRun(steps, batch)
        for row in 0..<batch.rowCount {
            slots[slot(batch, row, batch.positions[row])] = (batch.tokens[row], batch.positions[row])
        }
        for (output, row) in batch.outputRows.enumerated() {
            var history: [Int32] = []
            for position in 0...batch.positions[Int(row)] {
                let entry = slots[slot(batch, Int(row), position)]
                if entry.position != position { probe.record("position \(position) reads \(entry)") }
                history.append(entry.token)
            }
            let target = UnsafeMutableBufferPointer(rebasing: buffers[output * vocabulary..<(output + 1) * vocabulary])
            Self.fill(target, after: history.suffix(memory))
        }
    }

    func logits(_ output: Int) -> UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(rebasing: buffers[output * vocabulary..<(output + 1) * vocabulary])
    }

    func sample(_ draws: inout [TokenDraw]) {
        probe.draw(draws.count)
        let sampler = Sampler(vocabulary: vocabulary)
        for index in draws.indices {
            let draw = draws[index]
            draws[index].token = sampler.sample(
                logits(draw.output), parameters: draw.parameters, penalties: nil, outputIndex: draw.outputIndex)
        }
    }

    func copyBlock(from: Int32, to: Int32) {
        for offset in 0..<StepBatch.blockSize {
            slots[Int(to) * StepBatch.blockSize + offset] = slots[Int(from) * StepBatch.blockSize + offset]
        }
    }

    let blockBytes = StepBatch.blockSize * MemoryLayout<(Int32, Int32)>.stride

    func saveBlock(_ block: Int32, to bytes: UnsafeMutableRawPointer) {
        for offset in 0..<StepBatch.blockSize {
            let entry = slots[Int(block) * StepBatch.blockSize + offset]
            bytes.storeBytes(of: entry.token, toByteOffset: offset * 8, as: Int32.self)
            bytes.storeBytes(of: entry.position, toByteOffset: offset * 8 + 4, as: Int32.self)
        }
    }

    func restoreBlock(_ block: Int32, from bytes: UnsafeRawPointer) {
        for offset in 0..<StepBatch.blockSize {
            slots[Int(block) * StepBatch.blockSize + offset] = (
                bytes.load(fromByteOffset: offset * 8, as: Int32.self),
                bytes.load(fromByteOffset: offset * 8 + 4, as: Int32.self)
            )
        }
    }

    private func slot(_ batch: borrowing StepBatch, _ row: Int, _ position: Int32) -> Int {
        let sequence = Int(batch.sequences[row])
        let start = Int(batch.blockTableStart[sequence])
        let end =
            sequence + 1 < batch.sequenceCount
            ? Int(batch.blockTableStart[sequence + 1]) : batch.blockTables.count
        let entry = start + Int(position) / StepBatch.blockSize
        guard entry < end else {
            probe.record("position \(position) is beyond a table of \(end - start) blocks")
            return 0
        }
        return Int(batch.blockTables[entry]) * StepBatch.blockSize + Int(position) % StepBatch.blockSize
    }

    /// Logits in -4 ..< 4 from a hash of the history.
    static func fill(_ logits: UnsafeMutableBufferPointer<Float>, after history: some Sequence<Int32>) {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        for token in history {
            state = (state ^ UInt64(UInt32(bitPattern: token))) &* 0xBF58_476D_1CE4_E5B9
            state ^= state >> 29
        }
        var generator = SeededGenerator(seed: state)
        for index in logits.indices { logits[index] = Float(generator.next() >> 40) / Float(1 << 21) - 4 }
    }

    /// The tokens that a request must give, from the definition alone: one history, no blocks, no batch.
    static func expectedTokens(
        _ request: GenerationRequest, vocabulary: Int = 97, memory: Int = .max, count: Int? = nil
    ) -> [Int32] {
        let sampler = Sampler(vocabulary: vocabulary)
        let row = UnsafeMutableBufferPointer<Float>.allocate(capacity: vocabulary)
        defer { row.deallocate() }
        var output: [Int32] = []
        while output.count < count ?? request.maxTokens {
            fill(row, after: (request.prompt + output).suffix(memory))
            let token = sampler.sample(
                row, parameters: request.sampling,
                penalties: PenaltyCounts(prompt: request.prompt, output: output), outputIndex: output.count)
            guard let token else { break }
            output.append(token)
        }
        return output
    }
}
